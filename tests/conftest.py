"""How many examples Hypothesis draws: few by default, many with `--hypothesis-profile=full`. Which
tests run first."""

import pytest
from hypothesis import settings

settings.register_profile("short", max_examples=40, deadline=None)
settings.register_profile("full", max_examples=400, deadline=None)
settings.load_profile("short")

LONGEST = (
    "integration/test_documented.py",
    "integration/test_egress.py",
    "integration/test_change.py",
    "chaos/test_real_nodes.py",
    "integration/test_demo.py",
    "integration/test_bundles.py",
)
"""Files with tests of a minute and more. They run first: what is left at the end is short, so that
all of pytest's processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; the tests of a file stay in its order."""
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(LONGEST)))
