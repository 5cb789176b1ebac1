"""Files to start from: a method, a matrix and a data set of one's own, each of which works as it is written."""
