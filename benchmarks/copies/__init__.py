"""How copies of data sets are read: layouts and files on disk, kept decoded, verified and doubted."""
