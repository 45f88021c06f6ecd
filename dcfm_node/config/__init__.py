"""Settings: TOML files to frozen models; a mistake is named by file, line and field, with its fix.

`node` is one node's own settings, `keys` its secrets, `peers` who may enter, `run` what all nodes
of a run must agree on.
"""
