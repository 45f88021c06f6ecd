"""Reads settings from TOML files into frozen models. An error names file, line, field and fix.

`node` reads one node's own settings, `keys` its secret keys, `peers` the nodes that may link to it,
and `run` the settings that all nodes of a run share.
"""
