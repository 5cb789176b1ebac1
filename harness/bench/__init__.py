"""Whether our forms of a computation are cheaper than the obvious ones, and equal to them."""
