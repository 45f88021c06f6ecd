"""A silo's private data: what it is (`spec`), how it is read, and its split (`source`).

Nothing here leaves the silo except the label counts that `join` publishes.
"""
