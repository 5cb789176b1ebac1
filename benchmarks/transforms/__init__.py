"""How images and labels are moved together: one draw, one resampling, colour."""
