"""The data that a node keeps on disk: lock, journals, snapshots and students."""
