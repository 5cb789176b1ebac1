"""What a store holds: records, manifests, and how they are read."""
