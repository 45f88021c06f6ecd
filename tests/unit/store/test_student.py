"""The student folder and its model card."""

import errno
import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.errors import Failed
from dcfm_node.records.entries import Snapshot
from dcfm_node.records.manifest import (
    Attribute,
    Continues,
    Handover,
    Manifest,
    Masks,
    Method,
    Network,
    Policy,
    Silo,
    Training,
)
from dcfm_node.store.manifests import manifest_from_json, manifest_to_json
from dcfm_node.store.student import (
    FILES,
    INDIRECT,
    StudentFacts,
    model_card,
    read_student,
    write_student,
)
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.wire.envelope import run_id

WEIGHTS = b"weights" * 1_000
LINEAGE = b"\x93lineage"


def manifest(**changes: Any) -> Manifest:
    training = Training(steps=10)
    fields: dict[str, Any] = {
        "name": "digits",
        "sample_shape": (3, 8, 8),
        "attributes": (
            Attribute(name="digit", values=("0", "1", "zwei")),
            Attribute(name="colour", values=("dark red", "it's | *blue*")),
        ),
        "method": Method(local=training, refine=training, distil=training),
        "roster": tuple(
            Silo(name=name, key=bytes([200 + i]) * 32)
            for i, name in enumerate(("east", "north", "west"))
        ),
    }
    return Manifest(**(fields | changes))


MANIFEST = manifest()
FACTS = StudentFacts(
    round=2,
    term=5,
    digest="ab" * 32,
    outcome="COMPLETE",
    teachers=[("east", 2, "e1" * 32), ("north", 2, "c1" * 32), ("west", 2, "d1" * 32)],
    missing=[],
    endorsed_by=["east", "west"],
    refused_by=[],
    withdrawn=[],
    metrics={"loss": 0.25, "ci_gap": 1e-3},
    version="0.1.0",
    standing="released",
    superseded={},
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "snapshot"
    path.write_bytes(WEIGHTS)
    path.chmod(0o600)
    return path


@pytest.fixture
def write(tmp_path: Path, model: Path) -> Callable[..., Path]:
    def put(lineage: bytes = LINEAGE, name: str = "student") -> Path:
        folder = tmp_path / name
        card = model_card(MANIFEST, FACTS)
        write_student(folder, model=model, manifest=MANIFEST, lineage=lineage, card=card)
        return folder

    return put


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(write: Callable[..., Path], tmp_path: Path, model: Path) -> None:
    folder = write()
    student = read_student(folder)
    assert student.manifest == MANIFEST
    assert student.lineage == LINEAGE
    assert student.model.read_bytes() == WEIGHTS
    assert names(folder) == sorted(FILES)
    assert names(tmp_path) == ["snapshot", "student"]
    assert not student.model.samefile(model)


def test_the_config_says_what_a_user_looks_for(write: Callable[..., Path]) -> None:
    config = json.loads((write() / "config.json").read_text())
    assert config["digest"] == snapshot_of(WEIGHTS).digest.hex()
    assert config["sample_shape"] == [3, 8, 8]
    assert config["attributes"]["digit"] == ["0", "1", "zwei"]
    assert config["network"]["kind"] == "mlp"
    assert config["manifest"]["roster"][0] == {"name": "east", "key": "c8" * 32}


def test_a_folder_in_a_new_place_is_made(write: Callable[..., Path]) -> None:
    assert read_student(write(name="a/b/student")).lineage == LINEAGE


def test_an_earlier_student_and_an_empty_folder_are_replaced(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "student").mkdir()
    write(b"first")
    assert read_student(write(b"second")).lineage == b"second"
    assert names(tmp_path) == ["snapshot", "student"]


@pytest.mark.parametrize("found", [["thesis.tex"], ["README.md"], [*FILES, "samples.npz"]])
def test_what_is_not_a_students_alone_is_never_overwritten(
    write: Callable[..., Path], tmp_path: Path, found: list[str]
) -> None:
    folder = tmp_path / "student"
    folder.mkdir()
    for name in found:
        (folder / name).write_text("precious")
    with pytest.raises(Failed, match="not a student's alone") as refused:
        write()
    assert str(folder) in refused.value.where
    assert refused.value.fix
    assert {(folder / name).read_text() for name in found} == {"precious"}


def test_a_file_in_the_place_of_the_folder_is_kept(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "student").write_text("precious")
    with pytest.raises(Failed, match="this is a file"):
        write()
    assert (tmp_path / "student").read_text() == "precious"


def test_a_full_disk_leaves_the_earlier_student(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(b"first")

    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(Failed, match="No space left"):
        write(b"second")
    assert read_student(folder).lineage == b"first"
    assert names(tmp_path) == ["snapshot", "student"]


def test_a_failed_swap_puts_the_earlier_student_back(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(b"first")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(Failed, match="Input/output"):
        write(b"second")
    assert read_student(folder).lineage == b"first"
    assert names(tmp_path) == ["snapshot", "student"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "lineage.msgpack"])
def test_a_missing_file_is_named(write: Callable[..., Path], name: str) -> None:
    folder = write()
    (folder / name).unlink()
    with pytest.raises(Failed, match=f"{name} missing") as refused:
        read_student(folder)
    assert refused.value.where == str(folder)
    assert "fetch" in refused.value.fix


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"model\.safetensors, config\.json, lineage\.msgpack missing"):
        read_student(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "format is None"),
        (b'{"format": "dcfm-node/student/9"}', "student/9"),
        (b'{"format": "dcfm-node/student/1"}', "manifest is malformed: roster"),
    ],
)
def test_a_config_that_cannot_be_understood_is_named(
    write: Callable[..., Path], config: bytes, reason: str
) -> None:
    folder = write()
    (folder / "config.json").write_bytes(config)
    with pytest.raises(Failed, match=reason) as refused:
        read_student(folder)
    assert refused.value.where == str(folder / "config.json")
    assert refused.value.fix


@pytest.mark.parametrize(
    "value",
    [
        MANIFEST,
        manifest(
            sample_shape=(2,),
            network=Network(kind="mlp", width=64, predict="velocity"),
            method=Method(
                schedule="paper",
                masks=Masks(full=0.97, marginal=0.1 + 0.2, null=1e-300),
                local=Training(steps=1, learning_rate=1, ci_weight=0),
                refine=Training(steps=2, product_share=0.5),
                distil=Training(steps=3),
                composed=False,
                seed=2**31,
            ),
            policy=Policy(participation="tolerant", stall_s=0.5),
        ),
        manifest(continues=Continues(run=bytes(32), student=None)),
        manifest(
            continues=Continues(
                run=b"r" * 32,
                student=Snapshot(digest=b"s" * 32, size=7),
                handovers=(Handover(name="east", link_key=b"k" * 32, signature=b"s" * 64),),
                replaced=("west",),
            )
        ),
    ],
)
def test_a_manifest_survives_json_to_the_bit(value: Manifest) -> None:
    text = json.dumps(manifest_to_json(value))
    assert run_id(manifest_from_json(json.loads(text))) == run_id(value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"roster": None}, "roster"),
        ({"roster": ["east"]}, "roster"),
        ({"roster": [{"name": "east"}]}, "roster"),
        ({"roster": [{"name": "east", "key": 7}]}, "roster"),
        ({"roster": [{"name": "east", "key": "zz"}]}, "roster"),
        ({"roster": [{"name": "east", "key": "00"}]}, "roster.0.key"),
        ({"continues": 7}, "continues"),
        ({"continues": {"run": "zz", "student": None, "handovers": []}}, "continues"),
        ({"name": "Not A Name"}, "name"),
        ({"more": 1}, "more"),
        ({"method": {}}, "method.local"),
    ],
)
def test_a_malformed_manifest_is_named_by_its_field(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}:"):
        manifest_from_json(manifest_to_json(MANIFEST) | change)


@pytest.mark.parametrize("document", [None, 1, "text", [], {}])
def test_what_is_no_document_is_no_manifest(document: object) -> None:
    with pytest.raises(ValueError, match="roster"):
        manifest_from_json(document)


def test_the_card_tells_the_lineage() -> None:
    card = model_card(MANIFEST, FACTS)
    assert "COMPLETE: every active silo taught it" in card
    assert "| 2, 5 |" in card
    assert run_id(MANIFEST).hex() in card
    for silo, _, digest in FACTS.teachers:
        assert f"| {silo} | 2 | `{digest}` |" in card
    assert "endorsed by: east, west" in card
    assert "refused by: nobody" in card
    assert "not heard: north" in card
    assert "2 of 3 endorsed it, 2 are needed: it is **released**" in card
    assert "What never left the silos" in card
    assert "| ci\\_gap | 0.001 |" in card


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("fedflow", "averaged (FedFlow) from the experts of 3 silos"),
        ("ddm", "put together (DDM, a mixture of all) from the experts of 3 silos"),
    ],
)
def test_the_card_says_how_the_student_was_made(name: str, made: str) -> None:
    method = Method.model_validate({"name": name, "local": Training(steps=9)})
    card = model_card(manifest(method=method), FACTS)
    assert made in card
    assert "distilled" not in card


def test_the_card_names_the_missing_and_the_refusals() -> None:
    facts = replace(
        FACTS,
        outcome="DEGRADED",
        teachers=[("east", 2, "e1" * 32), ("north", 1, "c1" * 32)],
        missing=["north", "west"],
        endorsed_by=["east"],
        refused_by=["west"],
        standing="not released",
        metrics={},
    )
    card = model_card(MANIFEST, facts)
    assert "DEGRADED: **north, west taught it no expert of this round**" in card
    assert "no expert of these taught it: west." in card
    assert "An earlier expert stood in for: north." in card
    assert "refused by: west" in card
    assert "**not released**" in card
    assert "Figures" not in card


def test_the_card_names_who_withdrew_and_what_that_means() -> None:
    teachers = [("east", 2, "e1" * 32), ("north", 2, "c1" * 32)]
    card = model_card(MANIFEST, replace(FACTS, teachers=teachers, withdrawn=["west"]))
    assert "Withdrawn from the run: west." in card
    assert "Superseded" not in card
    assert INDIRECT in card
    first = [(silo, 0, digest) for silo, _, digest in teachers]
    assert INDIRECT not in model_card(MANIFEST, replace(FACTS, teachers=first, withdrawn=["west"]))


def test_the_card_of_a_superseded_student_says_so_and_not_that_it_is_released() -> None:
    card = model_card(
        MANIFEST, replace(FACTS, standing="superseded", superseded={"north": "withdrew: *moved*"})
    )
    assert "**Superseded**: north withdrew: \\*moved\\*." in card
    assert "it is **superseded**" in card
    assert "**released**" not in card


def test_the_card_of_an_interim_student_never_says_that_it_is_released() -> None:
    card = model_card(MANIFEST, replace(FACTS, standing="interim"))
    assert "it is **interim**" in card
    assert "**released**" not in card


def test_the_cards_command_names_values_as_a_shell_reads_them() -> None:
    values = ("it's | $HOME `x`", "plain")
    attributes = (Attribute(name="colour", values=values),)
    card = model_card(manifest(attributes=attributes), FACTS)
    command = next(line for line in card.splitlines() if "student sample" in line)
    assert shlex.split(command)[4:6] == ["--where", f"colour={values[0]}"]
    assert "| colour | it's \\| $HOME \\`x\\`, plain |" in card
