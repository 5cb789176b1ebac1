"""What papers print: published numbers, whether they are possible, and other baselines for them."""
