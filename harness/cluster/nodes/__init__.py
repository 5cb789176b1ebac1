"""The nodes of a cluster: what each is asked before it gets cells, and by which interface they talk to each other."""
