"""A discrete-event network that runs the daemon's own `swarm` code under a fake clock."""
