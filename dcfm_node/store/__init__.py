"""What a node keeps on disk: its lock, journals, snapshots and students."""
