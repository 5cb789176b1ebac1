"""The tables that answer `results/questions`: train against test, and several tables together."""
