"""A silo's private data: its settings (`spec`), its readers, and its split (`source`).

Only the label counts, which `join` publishes, leave the silo.
"""
