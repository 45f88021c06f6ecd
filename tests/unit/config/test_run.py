"""run.toml."""

import re
import tomllib
from collections.abc import Set
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.config import toml
from dcfm_node.config.peers import Peer, load_peers
from dcfm_node.config.presets import settled
from dcfm_node.config.run import RunFile, differing, features_of, least_bytes, load_run
from dcfm_node.config.template import run_template, run_text
from dcfm_node.config.toml import frozen
from dcfm_node.errors import ConfigError
from dcfm_node.flow import networks
from dcfm_node.records.base import Model
from dcfm_node.records.manifest import Manifest, Silo
from dcfm_node.store.tensors import size_of
from dcfm_node.wire.envelope import manifest_bytes, run_id

EXAMPLES = Path(__file__).parents[3] / "configs"
A, B, C = load_peers(EXAMPLES / "peers.toml")
LISTED = Path("site") / "everyone.toml"
LEAST = """\
name = "r"
sample_shape = [2]
[[attribute]]
name = "p"
values = ["0", "1"]
[method.local]
steps = 1
[method.refine]
steps = 1
[method.distil]
steps = 1
"""


def manifest(
    folder: Path, text: str, peers: tuple[Peer, ...] = (A, B, C), me: Peer = A
) -> Manifest:
    file = folder / "run.toml"
    file.write_text(text, encoding="utf-8")
    return load_run(file, peers, me, listed=LISTED)


def refusal(folder: Path, text: str, peers: tuple[Peer, ...] = (A, B, C)) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        manifest(folder, text, peers)
    return caught.value


def everything(text: str) -> str:
    """A template whose commented settings are set."""
    return re.sub(r"(?m)^#(?=\w)", "", text)


def test_the_example_shows_what_is_settled_for_it(tmp_path: Path) -> None:
    example = tomllib.loads(run_template())
    attributes = [(one["name"], tuple(one["values"])) for one in example["attribute"]]
    assert run_text(example["name"], tuple(example["sample_shape"]), attributes) == run_template()
    assert manifest(tmp_path, everything(run_template())) == manifest(tmp_path, run_template())


def spelled_out(
    said: dict[str, Any], model: Model, place: str, but: Set[str] = frozenset()
) -> None:
    assert said.keys() | but == set(type(model).model_fields) | {"penalty"} & said.keys(), place
    for key, value in model:
        if isinstance(value, Model) and key not in but:
            spelled_out(said[key], value, f"{place}.{key}")


def test_the_example_spells_out_every_setting() -> None:
    full = tomllib.loads(everything(run_template()))
    run = RunFile.model_validate(settled(frozen(full)))
    spelled_out(
        full, run, "run", {"roster", "features", "domain", "codec", "path", "continues", "feasible"}
    )


def test_only_the_run_s_own_file_names_its_features(tmp_path: Path) -> None:
    """A file of another run may lie beside node.toml by the time a student is fetched."""
    shape = "sample_shape = [2]\n"
    text = LEAST.replace("sample_shape = [1, 28, 28]\n", shape)
    assert shape in text
    made, file = manifest(tmp_path, text, (A, B, C), A), tmp_path / "run.toml"
    assert features_of(file, made) == features_of(tmp_path / "gone.toml", made) == ()
    file.write_text(text.replace(shape, shape + 'features = ["load", "wind"]\n'))
    assert features_of(file, made) == ("load", "wind")
    assert features_of(file, made.model_copy(update={"name": "other"})) == ()


def test_every_node_builds_the_same_run(tmp_path: Path) -> None:
    runs = [
        manifest(tmp_path, LEAST, peers, me)
        for me in (A, B, C)
        for peers in ((A, B, C), (C, B, A), tuple(peer for peer in (A, B, C) if peer != me))
    ]
    assert {run_id(run) for run in runs} == {run_id(runs[0])}
    assert runs[0].roster == tuple(Silo(name=p.name, key=p.sign_key) for p in (A, B, C))


def test_a_roster_takes_part_of_the_peers(tmp_path: Path) -> None:
    run = manifest(tmp_path, f'roster = ["silo-c", "silo-a"]\n{LEAST}')
    assert [silo.name for silo in run.roster] == ["silo-a", "silo-c"]


@pytest.mark.parametrize(
    ("roster", "place", "fix"),
    [
        ('["silo-a", "silo-x"]', "roster[1]", "add the block of 'silo-x'"),
        ('["silo-a", "zzz"]', "roster[1]", "'dcfm-node peers add' here"),
        ('["silo-a", "silo-b", "silo-a"]', "roster[2]", "once"),
        ('["silo-b", "silo-c"]', "roster", "add 'silo-a'"),
        ("[]", "roster", "at least 1"),
    ],
)
def test_a_roster_that_cannot_be_is_refused(
    tmp_path: Path, roster: str, place: str, fix: str
) -> None:
    error = refusal(tmp_path, f"roster = {roster}\n{LEAST}")
    assert error.where == f"{tmp_path / 'run.toml'}:1: {place}"
    assert fix in error.fix


def test_a_silo_that_peers_lack_is_told_with_the_name_of_their_file(tmp_path: Path) -> None:
    told = refusal(tmp_path, f'roster = ["silo-x"]\n{LEAST}').more
    assert sum(f"{LISTED} has no" in line for line in told) == 1


def test_this_node_under_another_key_is_refused(tmp_path: Path) -> None:
    impostor = B.model_copy(update={"name": A.name})
    error = refusal(tmp_path, LEAST, (impostor, C))
    assert error.where == str(LISTED)
    assert "dcfm-node id" in error.fix


def test_this_node_under_another_name_is_refused(tmp_path: Path) -> None:
    renamed = A.model_copy(update={"name": "silo-x"})
    assert refusal(tmp_path, LEAST, (renamed, C)).where == str(LISTED)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('values = ["0", "1"]', 'values = ["0", "0"]', "3: attribute[0]"),
        ('values = ["0", "1"]', 'values = ["0"]', "5: attribute[0].values"),
        (
            "[[attribute]]",
            "[[attributes]]\nname='p'\nvalues=['0', '1']\n[[attribute]]",
            "3: attributes",
        ),
        ("[method.local]\nsteps = 1\n", "[method.local]\nsteps = 0\n", "7: method.local.steps"),
        ("[method.local]", "[method]\nmin_rounds = 9\n[method.local]", "7: method.min_rounds"),
        ("[method.local]", '[network]\nkind = "unet"\n[method.local]', "7: network.kind"),
        ("[method.local]", "[policy]\nstall = 3.0\n[method.local]", "7: policy.stall"),
        ("[2]", "[2, 2, 2, 2]", "2: sample_shape"),
        ("[2]", "[2]\npreset = 'best'", "3: preset"),
        ("[method.local]", "[method]\nname = 'fed'\n[method.local]", "7: method.name"),
        (
            "[method.local]",
            "[method]\nema = 1.5\n[method.local]",
            "7: method.ema",
        ),
        (
            "[method.local]",
            "[[attribute]]\nname='p'\nvalues=['0', '1']\n[method.local]",
            "3: attribute",
        ),
    ],
)
def test_a_mistake_is_refused_where_it_stands(
    tmp_path: Path, old: str, new: str, where: str
) -> None:
    assert old in LEAST
    error = refusal(tmp_path, LEAST.replace(old, new))
    assert error.where == f"{tmp_path / 'run.toml'}:{where}"
    assert error.fix


def test_one_sites_values_are_joined_with_the_others(tmp_path: Path) -> None:
    assert "run merge" in refusal(tmp_path, LEAST.replace('["0", "1"]', '["0"]')).fix


def test_what_differs_between_a_file_and_a_run_is_named(tmp_path: Path) -> None:
    """`run continue` must not go on from the settings of another run."""
    present = manifest(tmp_path, LEAST)
    document = toml.read(tmp_path / "run.toml", "")
    assert differing(document, present) == []
    (tmp_path / "run.toml").write_text(
        f'roster = ["{A.name}"]\n{LEAST}[network]\nwidth = 8\n', encoding="utf-8"
    )
    other = toml.read(tmp_path / "run.toml", "")
    assert differing(other, present) == ["network.width", "roster"]


def test_a_manifest_that_no_message_could_bear_is_refused(tmp_path: Path) -> None:
    """SPEC 2.1.1: valid in each of its fields."""
    values = ", ".join(f'"{n:04d}{"雨" * 60}"' for n in range(1_000))
    more = ", ".join(f'"{n:04d}{"雨" * 60}"' for n in range(65))
    others = f'[[attribute]]\nname = "m"\nvalues = [{values}]\n'
    others += f'[[attribute]]\nname = "n"\nvalues = [{more}]\n'
    start, end = LEAST.index("[[attribute]]"), LEAST.index("[method.local]")
    text = LEAST[:start] + others + LEAST[end:]
    error = refusal(tmp_path, text.replace("雨", "𝄞"))
    assert "limit of 262144" in error.what
    assert manifest(tmp_path, text)


def test_no_more_feasible_combinations_are_listed_than_a_manifest_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC 2.2: many attributes leave room for fewer than 65,536 labels."""
    each = "".join(f'[[attribute]]\nname = "a{n}"\nvalues = ["0", "1"]\n' for n in range(8))
    listed = ",".join(str([*f"{n:08b}"]) for n in range(200))
    start, end = LEAST.index("[[attribute]]"), LEAST.index("[method.local]")
    text = f"feasible = [{listed}]\n" + LEAST[:start] + each + LEAST[end:]
    most = len(manifest_bytes(manifest(tmp_path, text)))
    assert most > 9 * 200
    monkeypatch.setattr("dcfm_node.config.run.MAX_MANIFEST_BYTES", most - 1)
    error = refusal(tmp_path, text)
    assert f"limit of {most - 1}" in error.what
    assert error.fix == "list fewer combinations"


@pytest.mark.parametrize(
    "network", ['kind = "mlp"\nwidth = 4096', 'kind = "unet"\nwidth = 4096\ndepth = 1']
)
def test_a_network_that_no_snapshot_could_hold_is_refused(tmp_path: Path, network: str) -> None:
    huge = LEAST.replace("[2]", "[100_000_000, 1, 1]") + f"[network]\n{network}\n"
    error = refusal(tmp_path, huge)
    assert "limit of 8589934592" in error.what
    assert error.where.endswith("network.width")


@pytest.mark.parametrize("kind", ["mlp", "unet"])
def test_the_least_that_a_network_takes_is_no_more_than_it_takes(tmp_path: Path, kind: str) -> None:
    text = LEAST.replace("[2]", "[100_000, 1, 1]") + f'[network]\nkind = "{kind}"\ndepth = 1\n'
    made = manifest(tmp_path, text)
    taken = size_of(networks.schema(made))
    assert taken / 2 < least_bytes(made) <= taken
