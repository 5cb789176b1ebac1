"""How predictions become scores."""
