"""What samples are: how a silo loads them, how silos share them, how they are drawn and evaluated.

`base` has the interface `Domain`; each domain is one file with a `DOMAIN` in it, found by the name
that run.toml gives under `[domain]`. A package of yours adds one through an entry point
(`dcfm_node.plugins`). `pictures`, `distances`, `features` and `dealing` are what domains share.
"""
