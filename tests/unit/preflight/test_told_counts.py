"""What `check` says of the label counts that peers will learn."""

from pathlib import Path

import pytest

from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.preflight.private_data import Data, told_counts
from tests.unit.swarm.builders import Run

COUNTS = (((0, 0), 90), ((0, 1), 44), ((1, 1), 4))
SOURCE = {"format": "builtin", "name": "gaussians", "silo": 0, "silos": 3}
KEYS = NodeKeys(Run(3).authors[0].signer._private, "", "")


@pytest.mark.parametrize(
    ("privacy", "told", "said"),
    [
        ({}, COUNTS, []),
        (
            {"counts": "rounded"},
            (((0, 0), 90), ((0, 1), 40)),
            ["ok peers learn 2 of them, and take 1 for not held: rounded to multiples of 10;"],
        ),
        ({"counts": "rounded", "threshold": 500}, COUNTS, ["wrong [privacy] threshold: no comb"]),
    ],
)
def test_told_counts(tmp_path: Path, privacy: object, told: object, said: list[str]) -> None:
    config = NodeConfig.model_validate({"name": "a", "data": SOURCE, "privacy": privacy})
    data = Data(counts=COUNTS, whole=COUNTS)
    assert told_counts(data, config, KEYS, None) == told
    found = [f"{one.state} {one.finding}" for one in data.findings]
    assert len(found) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(found, said, strict=True))


@pytest.mark.parametrize(
    ("holdout", "said"),
    [(9, "degraded its expert will not be published: 17"), (16, "ok its expert is published if")],
)
def test_a_privacy_gate_needs_hold_out_samples_of_what_is_trained_on(
    holdout: int, said: str
) -> None:
    """Of the last combination there are more hold-out than training samples."""
    config = NodeConfig.model_validate(
        {"name": "a", "data": SOURCE, "privacy": {"membership_auc": 0.7}}
    )
    whole = (((0, 0), 90 + holdout), ((0, 1), 48), ((1, 0), 50), ((1, 1), 40))
    data = Data(counts=COUNTS, whole=whole)
    told_counts(data, config, KEYS, None)
    (found,) = data.findings
    assert f"{found.state} {found.finding}".startswith(said)


def test_without_settings_or_data_nothing_is_said() -> None:
    data = Data(counts=COUNTS, whole=COUNTS)
    assert told_counts(data, None, None, None) == COUNTS
    assert told_counts(Data(), None, KEYS, None) is None
    assert data.findings == []


@pytest.mark.parametrize(
    ("settings", "warns"),
    [
        ({}, False),
        ({"privacy": {"counts": "rounded"}}, True),
        ({"privacy": {"counts": "laplace", "threshold": 20}}, True),
        ({"privacy": {"counts": "rounded"}, "publish_moments": False}, False),
    ],
)
def test_exact_means_beside_hidden_counts_are_warned_of(
    settings: dict[str, object], warns: bool
) -> None:
    manifest = Run(3, prepares=True).manifest
    assert manifest.groups
    config = NodeConfig.model_validate({"name": "a", "data": SOURCE, **settings})
    data = Data(counts=COUNTS, whole=COUNTS)
    told_counts(data, config, KEYS, manifest)
    fixes = [one.fix for one in data.findings if one.state == "degraded"]
    assert ["publish_moments = false" in fix for fix in fixes] == [True] * warns
