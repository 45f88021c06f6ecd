"""Networks and codecs: `settings` has their sections of run.toml, the other modules need torch."""
