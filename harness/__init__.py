"""How a matrix of cells is planned, run, tracked and scored."""
