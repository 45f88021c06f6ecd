"""Found factors against digit and colour: measures, rows, table and picture."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from dcfm_node.experiment import results, settings
from dcfm_node.experiment.discovery import show
from dcfm_node.experiment.discovery.measures import compared, judged, probed
from dcfm_node.experiment.discovery.settings import Discovery, Way
from dcfm_node.experiment.discovery.trial import DiscoveryTrial
from dcfm_node.experiment.lines import TrialSpec
from dcfm_node.samples import Samples


def test_factors_under_other_names_and_in_another_order_match() -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    c = np.stack([rng.integers(10, size=2_000), rng.integers(6, size=2_000)], axis=1)
    z = np.stack([(c[:, 1] + 2) % 6, 9 - c[:, 0]], axis=1)
    found, matched = compared(z, c)
    assert matched == (1, 0)
    assert (found["digit_nmi"], found["colour_nmi"]) == pytest.approx((1.0, 1.0))
    assert found["digit_probe"] == found["colour_probe"] == 1.0
    assert found["digit_leak"] < 0.02
    # Half of the digits in pairs: a value tells which pair, and a probe is right in half of them.
    assert probed(c[:, 0] // 2, c[:, 0]) == pytest.approx(0.5, abs=0.06)


def test_the_judge_of_both_tells_which_attribute_is_right() -> None:
    shown = np.array([[1, 2], [3, 4], [5, 0], [7, 1]])
    asked = np.array([[1, 2], [3, 0], [2, 0], [0, 0]])
    samples = Samples(np.zeros((4, 1), np.float32), asked)
    found = judged(lambda given: (given.c == shown).all(axis=1), samples)
    assert found == {"both": 0.25, "digit": 0.5, "colour": 0.5}


def test_a_way_has_the_factors_that_it_needs() -> None:
    with pytest.raises(ValidationError, match="two factors"):
        Way(name="w", by="flow")
    with pytest.raises(ValidationError, match="two factors"):
        Way.model_validate({"name": "w", "by": "labels", "factor": ({"values": 3},) * 2})


def test_a_trial_makes_every_row_and_the_page_shows_them(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    given = settings.read("discovery", "smoke")
    assert isinstance(given, Discovery)
    assert isinstance(settings.read("discovery", "mnist"), Discovery)
    given = given.model_copy(update={"way": given.way[2:]})
    spec = TrialSpec(
        experiment="discovery",
        preset="smoke",
        partition="digits",
        seed=0,
        out=tmp_path,
        device="cpu",
    )
    DiscoveryTrial(spec, given).run()
    rows = [results.read_row(tmp_path / "rows" / f"digits-0-{name}.json") for name in given.lineup]
    by_name = {row.method: row.metrics for row in rows}
    assert by_name["labels"]["digit_nmi"] == pytest.approx(1.0)
    assert by_name["k-means-views"]["colour_nmi"] > 0.9
    assert by_name["chance"]["digit_nmi"] < 0.1
    assert by_name["chance"]["both_novel"] == 0.0, "what is asked never occurs in the data"
    kept = results.Results("d", "smoke", "", "", "", tuple(rows), given.model_dump(mode="json"))
    assert settings.of_results(kept.settings) == given
    page = show.document(kept, given)
    assert "| flow-views | brightness, mean-colour | 10, 6 |" in page
    assert show.summary(rows, given) in page.replace("## digits\n\n", "digits\n")
    (picture,) = show.draw(tmp_path, kept, given)
    assert picture.stat().st_size > 0
