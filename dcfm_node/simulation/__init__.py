"""A discrete-event network that drives the daemon's own `swarm` code under a fake clock."""
