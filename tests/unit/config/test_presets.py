"""What run.toml leaves open, and a preset settles."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from dcfm_node.config.presets import preset, settled
from dcfm_node.config.run import RunFile
from dcfm_node.config.toml import frozen
from tests.packaging.tree import ROOT

SHAPES = {"vector": (6,), "series": (2, 24), "picture": (3, 8, 8), "large picture": (1, 28, 28)}
ATTRIBUTES = """\
[[attribute]]
name = "weather"
values = ["dry", "rain", "snow", "fog"]
[[attribute]]
name = "terrain"
values = ["road", "grass", "sand"]
"""


def run(top: str, shape: tuple[int, ...] = (6,), below: str = "") -> RunFile:
    text = f'name = "r"\nsample_shape = {list(shape)}\n{top}\n{ATTRIBUTES}{below}'
    return RunFile.model_validate(settled(frozen(tomllib.loads(text))))


@pytest.mark.parametrize("name", ["auto", "paper"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_name_a_shape_and_attributes_are_a_run(name: str, shape: tuple[int, ...]) -> None:
    found = run(f'preset = "{name}"', shape)
    assert found.network.problem(shape) == ""
    assert found.method.local.steps > 1
    assert found.method.schedule == ("paper" if name == "paper" else "alternating")


def test_the_kind_and_size_of_data_decide_the_network() -> None:
    shapes = {"mlp": [(6,)], "unet": [(3, 8, 8), (1, 23, 40)], "mixer": [(1, 24, 40), (1, 32)]}
    for kind, of in shapes.items():
        assert {run("", shape).network.kind for shape in of} == {kind}


def test_pictures_with_many_values_get_the_larger_network() -> None:
    kinds = {
        values: preset("auto", (3, 8, 8), (values, 4))["network"]["kind"] for values in (11, 12)
    }
    assert kinds == {11: "unet", 12: "mixer"}


def test_rates_are_those_of_the_network_that_is_asked_for() -> None:
    asked = {
        kind: run("", (3, 8, 8), f'[network]\nkind = "{kind}"\n') for kind in ("unet", "mixer")
    }
    rates = {kind: found.method.local.learning_rate for kind, found in asked.items()}
    assert rates == {"unet": 2e-3, "mixer": 5e-3}
    assert asked["unet"].network == run("", (3, 8, 8)).network


@pytest.mark.parametrize("path", ["discrete", "autoregressive"])
@pytest.mark.parametrize("name", ["auto", "paper"])
def test_tokens_get_what_fits_their_path(name: str, path: str) -> None:
    found = run(f'preset = "{name}"', below=f'[path]\nkind = "{path}"\ntokens = 9\n')
    assert found.network.kind == "transformer"
    assert found.path.misfit(found.codec, found.network, found.method) == ""
    assert found.method.schedule == ("paper" if name == "paper" else "alternating")


def test_series_share_a_scale_over_their_length() -> None:
    assert run("", SHAPES["series"]).standardise == "channel"


def test_what_the_codec_gives_is_what_counts() -> None:
    codec = f'[codec]\nkind = "linear"\nfile = "{"0" * 64}"\nshape = [5]\n'
    assert run("", (3, 8, 8), codec).network.kind == "mlp"


@pytest.mark.parametrize(
    ("shape", "file"),
    [((2,), "runs/gaussians.toml"), ((1, 28, 28), "experiments/coloured-mnist.toml")],
)
def test_the_papers_settings_are_those_of_its_experiments(
    shape: tuple[int, ...], file: str
) -> None:
    there = tomllib.loads((ROOT / "configs" / file).read_text(encoding="utf-8"))
    found = preset("paper", shape, (2, 2))
    assert found["network"] == there["network"]
    for stage in ("local", "refine", "distil"):
        assert there["method"][stage].items() <= found["method"][stage].items()
    decided_here = {"schedule", "min_rounds", "max_rounds", "tolerance"}
    for key in there["method"].keys() - decided_here - {"local", "refine", "distil"}:
        assert found["method"][key] == there["method"][key]


def test_the_paper_neither_guides_nor_standardises_nor_probes() -> None:
    for shape in SHAPES.values():
        found = run('preset = "paper"', shape)
        assert found.method.guidance.null
        assert (found.standardise, found.probes.share) == ("none", 0.0)


def test_what_the_file_sets_comes_first() -> None:
    below = '[network]\nkind = "mlp"\nwidth = 40\n[method.local]\nsteps = 9\n'
    found, untouched = run("", (3, 8, 8), below), run("", (3, 8, 8))
    assert (found.network.kind, found.network.width, found.method.local.steps) == ("mlp", 40, 9)
    assert found.method.local.learning_rate == untouched.method.local.learning_rate
    assert found.method.distil == untouched.method.distil
    paper = run('preset = "paper"', below='[method]\nschedule = "alternating"\n')
    assert paper.method.schedule == "alternating"
    assert paper.method.local.ci_weight == 10.0


def test_auto_leaves_a_setting_to_the_preset() -> None:
    below = (
        '[network]\nkind = "auto"\nwidth = "auto"\n'
        '[method]\npenalty = "auto"\nmasks = "auto"\nguidance = "auto"\n'
        '[method.local]\nci_weight = "auto"\n'
    )
    assert run("", below=below) == run("")


def test_a_penalty_holds_for_the_stages_that_set_none() -> None:
    found = run("", below="[method]\npenalty = 3.0\n[method.refine]\nci_weight = 0.5\n").method
    assert [found.stage(s).ci_weight for s in ("local", "refine", "distil")] == [3.0, 0.5, 3.0]


@pytest.mark.parametrize("name", ["fedflow", "ddm", "dfd"])
def test_baselines_get_what_they_have(name: str) -> None:
    found = run("", below=f'[method]\nname = "{name}"\npenalty = 2.0\n').method
    assert found.local.ci_weight == 2.0
    assert found.masks == run("").method.masks


@pytest.mark.parametrize("wrong", [3, "auto", (), ("a",), {"kind": 3, "name": 3, "shape": ("a",)}])
@pytest.mark.parametrize(
    "key", ["preset", "sample_shape", "attribute", "codec", "network", "method"]
)
def test_what_is_wrong_is_left_to_validation(key: str, wrong: object) -> None:
    right = {"name": "r", "sample_shape": (2,), "attribute": ({"name": "p", "values": ("a", "b")},)}
    found = settled({**right, key: wrong})
    if wrong != "auto" or key not in ("preset", "network", "method"):
        with pytest.raises(ValidationError):
            RunFile.model_validate(found)


@pytest.mark.parametrize("file", sorted((ROOT / "configs" / "runs").glob("*.toml")))
def test_a_packaged_run_leaves_nothing_to_a_preset(file: Path) -> None:
    """The demo was tuned."""
    said = frozen(tomllib.loads(file.read_text(encoding="utf-8")))
    auto, paper = (
        RunFile.model_validate(settled({**said, "preset": name})) for name in ("auto", "paper")
    )
    assert auto.model_copy(update={"preset": "paper"}) == paper
