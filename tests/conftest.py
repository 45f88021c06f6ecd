"""How many examples Hypothesis draws: few by default, many with `--hypothesis-profile=full`."""

from hypothesis import settings

settings.register_profile("short", max_examples=40, deadline=None)
settings.register_profile("full", max_examples=400, deadline=None)
settings.load_profile("short")
