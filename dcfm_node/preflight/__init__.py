"""What `dcfm-node check` looks at, before a run and during one. It changes nothing."""
