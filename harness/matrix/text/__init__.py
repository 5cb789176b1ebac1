"""The text of a matrix: a file and the overrides of a command line, before any check."""
