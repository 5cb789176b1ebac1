"""What can be asked of methods and finished cells without a matrix."""
