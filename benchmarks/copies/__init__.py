"""Copies of data sets on disk: how they are laid out, read, kept decoded, verified and examined."""
