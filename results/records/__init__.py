"""Records: what a store holds, and how its files are named and read."""
