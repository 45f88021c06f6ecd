"""What scripts/make_vectors writes, one module per part of the protocol."""
