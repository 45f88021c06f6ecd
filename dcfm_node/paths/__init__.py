"""Probability paths: `settings` is what run.toml says of them, the rest needs torch."""
