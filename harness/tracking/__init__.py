"""How MLflow shows what a store holds."""
