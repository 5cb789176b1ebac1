"""Where cells live, who may write there, and which code made them."""
