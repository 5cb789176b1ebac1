"""Papers: the numbers that they print, whether these numbers are possible, and other baselines for them."""
