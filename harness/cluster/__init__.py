"""Where cells run: a scheduler that places them on machines, Ray as one, and one attempt at a cell."""
