"""How a cell becomes a record."""
