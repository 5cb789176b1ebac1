"""What came out: records in, tables and figures out. No torch here."""
