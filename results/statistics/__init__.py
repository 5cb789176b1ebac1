"""Statistics: Eq. (6), intervals, verdicts and plans, as plain functions over numbers."""
