"""Domains: how samples are loaded, shared among silos, drawn and evaluated.

`base` has the interface `Domain`. Each domain is one module, found by its name under `[domain]` in
run.toml. Another package adds a domain through an entry point (`dcfm_node.plugins`). Domains share
`pictures`, `distances`, `features` and `dealing`.
"""
