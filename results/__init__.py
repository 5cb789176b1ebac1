"""Results: what becomes of records, as numbers, tables and figures. Nothing here uses torch."""
