"""The swarm protocol as pure state machines: no sockets, files, clocks, loops or tensors.

Everything here sees authenticated input, `now` in seconds and a random source as arguments, and
answers with effects for the daemon to carry out. The simulator drives the same code.
"""
