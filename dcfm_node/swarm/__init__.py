"""The swarm protocol as pure state machines: no sockets, files, clocks, loops or tensors.

Each function takes authenticated input, `now` in seconds and a random source, and returns effects.
The daemon carries them out. The simulator drives the same code.
"""
