"""A domain of another distribution: found by name, agreed on in the manifest, used like ours."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcfm_node import plugins
from dcfm_node.data.spec import BuiltinData
from dcfm_node.domains import base
from dcfm_node.domains.base import SplitSpec
from dcfm_node.domains.space import Panel
from dcfm_node.errors import DataError, MissingPackageError, PeerError
from dcfm_node.records.differing import differences
from dcfm_node.records.messages import Mismatch
from dcfm_node.records.settings import DomainSettings, PluginCode, find, other_versions
from dcfm_node.swarm.strangers import PeerState, mismatch
from dcfm_node.wire.canonical import pack
from dcfm_node.wire.envelope import decode_manifest
from tests.unit.data.manifests import manifest

SETTINGS = '''
"""Angles on a circle, one per combination."""

from typing import ClassVar, Literal

from dcfm_node.records.settings import DomainSettings


class CircleSettings(DomainSettings):
    code: ClassVar[str] = "circle.domain:Circle"
    kind: Literal["circle"] = "circle"
    radius: float = 1.0

    def problem(self, shape):
        return "" if 1 / self.radius else "domain.radius is infinite; choose another"
'''
DOMAIN = """
import numpy as np

from dcfm_node.domains.base import Domain, Evaluator, Split, queries
from dcfm_node.records.manifest import Attribute
from dcfm_node.samples import Samples

PARTS = (Attribute(name="half", values=("up", "down")), Attribute(name="side", values=("l", "r")))


class Nearest(Evaluator):
    def __init__(self, where):
        self.where = where

    def right(self, samples):
        return np.linalg.norm(samples.x - self.where(samples.c), axis=1) < 0.5


class Circle(Domain):
    own_attributes = PARTS

    def where(self, c):
        angle = np.pi * (c[:, 0] + c[:, 1] / 2)
        return self.settings.radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def split(self, spec):
        rng = np.random.default_rng(spec.seed)
        shares = []
        for k in range(spec.silos or 2):
            c = queries([(0, 0), (0, 1) if k % 2 else (1, 0)], 50)
            x = (self.where(c) + rng.normal(scale=0.1, size=(100, 2))).astype(np.float32)
            shares.append(Samples(x, c))
        return Split(self.attributes(spec.attributes), (2,), tuple(shares), ((1, 1),))

    def evaluator(self, split, *, folder, seed, device, features=None):
        return Nearest(self.where)
"""
ATTRIBUTES = (("half", ("up", "down")), ("side", ("l", "r")))


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A distribution on the path, as pip leaves it."""
    files = {
        "circle/__init__.py": "",
        "circle/settings.py": SETTINGS,
        "circle/domain.py": DOMAIN,
        "circle-1.2.dist-info/METADATA": "Metadata-Version: 2.1\nName: circle\nVersion: 1.2\n",
        "circle-1.2.dist-info/entry_points.txt": (
            "[dcfm_node.domains]\ncircle = circle.settings:CircleSettings\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    cached = (plugins._installed, plugins.find)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "circle"]:
        del sys.modules[name]


def test_it_loads_a_silos_share_in_a_run_that_names_its_version() -> None:
    circle = find("domains", DomainSettings, "circle").model_validate({"radius": 2.0})
    code = PluginCode.of("domains", "circle")
    assert code is not None
    assert (code.distribution, code.version) == ("circle", "1.2")
    run = manifest(attributes=ATTRIBUTES, domain=circle, plugins=(code,))
    spec = BuiltinData(format="builtin", name="circle", silo=1, silos=2)
    data = base.of(run).load(run, spec)
    assert (len(data.train), len(data.holdout)) == (90, 10)
    assert data.train.combinations == [(0, 0), (0, 1)]
    assert (abs(data.train.x) > 1.5).any()
    with pytest.raises(DataError, match="half"):
        base.of(run).load(manifest(domain=circle, plugins=(code,)), spec)


def test_another_version_is_another_run_and_named() -> None:
    circle = find("domains", DomainSettings, "circle").model_validate({})
    code = PluginCode.of("domains", "circle")
    assert code is not None
    ours = manifest(domain=circle, plugins=(code,))
    theirs = manifest(domain=circle, plugins=(code.model_copy(update={"version": "1.3"}),))
    told = "plugins (domains circle: circle 1.2 here, circle 1.3 there)"
    assert differences(ours, theirs) == (told,)


def test_it_is_evaluated_and_drawn_without_code_of_ours(tmp_path: Path) -> None:
    domain = base.named("circle")
    split = domain.split(SplitSpec(silos=3))
    evaluator = domain.evaluator(split, folder=tmp_path, seed=0, device="cpu")
    assert evaluator.measure(split.pooled)["accuracy"] > 0.99
    panel = Panel("true samples", split.pooled, right=evaluator.right(split.pooled))
    image = domain.draw(split.space, [panel], split.holders(["a", "b", "c"]))
    assert min(image.size) > 300


def test_a_name_that_nobody_provides_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"choose one of plain.*circle"):
        BuiltinData(format="builtin", name="square", silo=0, silos=2)


def test_a_peer_makes_no_node_load_what_its_own_run_does_not_use() -> None:
    """SPEC 2.8: a manifest of a peer is compared, and no code is imported for it."""
    code = PluginCode(kind="domains", name="circle", distribution="circle", version="1.2")
    plain = manifest(attributes=ATTRIBUTES)
    fields = plain.model_dump() | {
        "domain": {"kind": "circle", "radius": 1.0},
        "plugins": (code.model_dump(),),
    }
    with pytest.raises(PeerError, match="which this node's run does not use"):
        decode_manifest(pack(fields), like=plain)
    assert not [name for name in sys.modules if name.startswith("circle")]
    ours = decode_manifest(pack(fields))
    assert decode_manifest(pack(fields), like=ours) == ours


def test_versions_are_named_where_a_newer_section_cannot_be_read() -> None:
    circle = find("domains", DomainSettings, "circle").model_validate({})
    code = PluginCode.of("domains", "circle")
    assert code is not None
    ours = manifest(domain=circle, plugins=(code,))
    newer = code.model_copy(update={"version": "2.0"})
    fields = ours.model_dump() | {
        "domain": {"kind": "circle", "radius": 1.0, "angle": 0.0},
        "plugins": (newer.model_dump(),),
    }
    message = Mismatch(run=bytes(32), version="1", manifest=pack(fields), reason="another")
    state = PeerState()
    mismatch(ours, ours.roster[0].key, state, message, 0.0)
    assert "domains circle: circle 1.2 here, circle 2.0 there" in state.trouble


@pytest.mark.parametrize("named", [True, False])
def test_a_section_that_fails_on_a_peers_settings_is_the_peers_fault(named: bool) -> None:
    """Also where the peer's `plugins` leaves the package out."""
    circle = find("domains", DomainSettings, "circle").model_validate({})
    code = PluginCode.of("domains", "circle")
    assert code is not None
    ours = manifest(domain=circle, plugins=(code,))
    fields = ours.model_dump() | {"domain": {"kind": "circle", "radius": 0.0}}
    if not named:
        fields["plugins"] = ()
    with pytest.raises(PeerError, match="ZeroDivisionError" if named else "plugins must name"):
        decode_manifest(pack(fields), like=ours)


def test_two_packages_of_one_name_are_told_where_it_is_used_and_nowhere_else(
    tmp_path: Path,
) -> None:
    other = tmp_path / "square-1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: square\nVersion: 1.0\n")
    (other / "entry_points.txt").write_text("[dcfm_node.domains]\ncircle = square:Square\n")
    importlib.invalidate_caches()
    with pytest.raises(plugins.PluginError, match=r"2 packages provide it: circle.* square:Square"):
        plugins.find("domains", "circle")
    assert "circle" in plugins.names("domains") and plugins.installed("domains", "circle")
    with pytest.raises(PeerError, match="malformed manifest"):
        decode_manifest(pack(manifest().model_dump() | {"surplus": 1}))


def test_a_reader_without_the_package_is_told_its_name() -> None:
    """SPEC 2.8.2."""
    code = {"kind": "domains", "name": "square", "distribution": "squares", "version": "2.0"}
    fields = manifest().model_dump() | {"domain": {"kind": "square"}, "plugins": (code,)}
    with pytest.raises(MissingPackageError, match=r"not installed here: squares 2\.0"):
        decode_manifest(pack(fields))


def test_another_version_than_a_manifest_names_is_told() -> None:
    code = PluginCode.of("domains", "circle")
    assert code is not None and other_versions((code,)) == ()
    older = code.model_copy(update={"version": "1.1"})
    assert other_versions((older,)) == ("circle 1.1, not 1.2",)


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "raise KeyError('x')", "import nothing_"])
def test_a_package_that_fails_to_load_is_at_fault_and_named(fault: str, tmp_path: Path) -> None:
    (tmp_path / "circle" / "settings.py").write_text(fault)
    importlib.invalidate_caches()
    with pytest.raises(plugins.PluginError, match=r"circle\.settings:CircleSettings cannot be"):
        plugins.find("domains", "circle")


def test_a_class_that_fails_is_at_fault_and_named(tmp_path: Path) -> None:
    (tmp_path / "circle" / "domain.py").write_text("class Circle:\n    pass\n")
    with pytest.raises(plugins.PluginError, match=r"not a subclass of .*Domain"):
        base.named("circle")
