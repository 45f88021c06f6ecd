"""What every domain does alike: loading a silo's share, attributes, what is missing."""

import json

import pytest

from dcfm_node import plugins
from dcfm_node.data.spec import BuiltinData
from dcfm_node.domains import base, shares
from dcfm_node.domains.base import SplitSpec
from dcfm_node.domains.plain import Plain
from dcfm_node.domains.settings import GaussiansSettings, PlainSettings
from dcfm_node.errors import DataError, UserError
from dcfm_node.experiment.settings import Problem
from tests.unit.data.manifests import manifest

GAUSSIANS = (("horizontal", ("left", "right")), ("vertical", ("bottom", "top")))
PLAIN = Plain(PlainSettings())
SPEC = BuiltinData(format="builtin", name="gaussians", silo=1, silos=2, seed=5)


@pytest.mark.parametrize(
    "kind", sorted({*plugins.names("domains")} - {"trajectories", "categories"})
)
def test_every_domain_is_found_with_settings_of_its_kind(kind: str) -> None:
    domain = base.named(kind)
    assert domain.settings.kind == kind
    assert domain.partitions()
    assert domain.shown <= domain.each


def test_a_domain_without_defaults_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="'trajectories' has no default for fps, channel"):
        PLAIN.load(manifest(), SPEC.model_copy(update={"name": "trajectories"}))


def test_a_builtin_domain_gives_this_silos_share() -> None:
    data = PLAIN.load(manifest(attributes=GAUSSIANS), SPEC)
    split = base.named("gaussians").split(SplitSpec(silos=2, seed=5))
    assert len(data.train) + len(data.holdout) == len(split.silos[1])
    assert [label for label, _ in data.counts] == split.silos[1].combinations


def test_a_run_with_other_attributes_than_the_domains_is_refused() -> None:
    spec = BuiltinData(format="builtin", name="digits", silo=0, silos=2)
    with pytest.raises(DataError, match="builtin digits") as caught:
        PLAIN.load(manifest(), spec)
    assert "cyan" in str(caught.value)


def test_a_run_of_another_shape_than_the_domains_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \[2\], the run's have \[3\]"):
        PLAIN.load(manifest(shape=(3,), attributes=GAUSSIANS), SPEC)


def test_plain_files_are_neither_shared_nor_measured() -> None:
    with pytest.raises(UserError, match="no samples of its own"):
        PLAIN.split(SplitSpec())


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "find_spec", lambda name: None if name == "sklearn" else 1)
    with pytest.raises(UserError, match="needs scikit-learn") as caught:
        base.named("digits").check(None)
    assert "dcfm-node[demo]" in caught.value.fix


def test_a_table_becomes_the_settings_of_the_kind_that_it_names() -> None:
    made = Problem.model_validate({"name": "x", "domain": {"kind": "gaussians", "sigma": 0.2}})
    assert isinstance(made.domain, GaussiansSettings)
    assert Problem.model_validate_json(made.model_dump_json()) == made
    assert json.loads(made.model_dump_json())["domain"]["sigma"] == 0.2
    for wrong in ({"kind": "gaussians", "sigma": 0.0}, {"kind": "nonesuch"}):
        with pytest.raises(ValueError, match=r"domain\.sigma|nonesuch"):
            Problem.model_validate({"name": "x", "domain": wrong})


def test_a_run_names_its_domain_and_its_settings() -> None:
    run = manifest(attributes=GAUSSIANS, domain=GaussiansSettings(sigma=0.1))
    assert base.of(run).settings.sigma == 0.1
    near, far = (PLAIN.load(m, SPEC).train.x for m in (run, manifest(attributes=GAUSSIANS)))
    assert abs(abs(near) - 1.5).mean() < abs(abs(far) - 1.5).mean() / 2
    with pytest.raises(ValueError, match=r"domain\.modes"):
        manifest(shape=(3,), attributes=GAUSSIANS, domain=GaussiansSettings())


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (0, 0, 0.0, 1.0)],
)
def test_a_share_has_wilsons_interval(right: int, of: int, low: float, high: float) -> None:
    assert shares.wilson(right, of) == pytest.approx((low, high), abs=1e-4)
