"""Who competes."""
