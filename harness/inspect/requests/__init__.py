"""What is asked of a store, checked without PyTorch."""
