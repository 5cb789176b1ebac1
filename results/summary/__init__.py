"""Summaries: the numbers of a comparison, from runs and columns to gains, pairs, orders and costs."""
