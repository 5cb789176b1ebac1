"""How a copy of a data set becomes batches."""
