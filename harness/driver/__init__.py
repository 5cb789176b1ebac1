"""How many cells are run: on one machine or a Ray cluster, and again after a crash."""
