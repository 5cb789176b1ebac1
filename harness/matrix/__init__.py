"""How a matrix file becomes cells."""
