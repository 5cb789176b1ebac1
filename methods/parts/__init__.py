"""What several methods are made of: layers, heads, attention, contexts, pyramids."""
