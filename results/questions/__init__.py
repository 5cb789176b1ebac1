"""What is asked of whole tables: whether a row fits or generalises worse, and what several tables say together."""
