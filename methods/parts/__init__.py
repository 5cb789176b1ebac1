"""The parts that several methods share: layers, heads, attention, contexts and pyramids."""
