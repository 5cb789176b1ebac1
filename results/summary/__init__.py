"""What a comparison says in numbers: runs, columns, gains, pairs, orders and costs."""
