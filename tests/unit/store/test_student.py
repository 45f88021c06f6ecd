"""The student folder and its model card."""

import errno
import json
import os
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dcfm_node.errors import Failed
from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records.manifest import Attribute, Manifest, Silo
from dcfm_node.records.moments import Scale
from dcfm_node.records.settings import MethodSettings, Training, find
from dcfm_node.store import student
from dcfm_node.store.card import INDIRECT, StudentFacts, model_card
from dcfm_node.store.student import FILES, config_of, json_bytes, write_student
from dcfm_node.store.student_check import (
    MAX_LINEAGE_BYTES,
    MAX_TEXT_BYTES,
    differing,
    read_student,
)
from dcfm_node.swarm.chunks import snapshot_of
from dcfm_node.swarm.quality import Announcement, Estimate
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
        "method": Dcfm(local=training, refine=training, distil=training),
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
    expected=Announcement(Estimate(0.98, 0.97, 0.99), None, "no silo's data can show it"),
    metrics={"loss": 0.25, "ci_gap": 1e-3},
    version="0.1.0",
    standing="released",
    superseded={},
)


def test_the_card_tells_what_silos_said_of_their_experts_and_nothing_where_none_did() -> None:
    card = model_card(MANIFEST, replace(FACTS, membership={"east": 0.6234}))
    assert "| east | 0.62 |" in card
    assert "| west | not told |" in card
    assert "What the experts remember" not in model_card(MANIFEST, FACTS)


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
        write_student(
            folder, model=model, manifest=MANIFEST, scale=None, lineage=lineage, card=card
        )
        return folder

    return put


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_read(write: Callable[..., Path], tmp_path: Path, model: Path) -> None:
    folder = write()
    student = read_student(folder)
    assert student.config == (folder / "config.json").read_bytes()
    assert student.card == model_card(MANIFEST, FACTS).encode()
    assert student.others == []
    assert student.lineage == LINEAGE
    assert student.model.read_bytes() == WEIGHTS
    assert names(folder) == sorted(FILES)
    assert names(tmp_path) == ["snapshot", "student"]
    assert not student.model.samefile(model)


def test_the_card_says_what_to_expect_or_why_nobody_can_tell() -> None:
    card = model_card(MANIFEST, FACTS)
    assert "| trained on | 98% (97% to 99%) |\n| novel | unmeasured |" in card
    assert "Unmeasured: no silo's data can show it." in card
    assert "Below the floor" not in card
    poor = replace(FACTS, expected=Announcement(None, Estimate(0.3, 0.2, 0.4), ""))
    assert "**Below the floor of 50% that this run asks of a student.**" in model_card(
        MANIFEST, poor
    )


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
    with pytest.raises(Failed, match="more than a student") as refused:
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


@pytest.mark.parametrize("where", ["exchange", "_keep"])
def test_a_failed_swap_puts_the_earlier_student_back(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    folder = write(b"first")

    def failing(*_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(student, where, failing)
    with pytest.raises(Failed, match="Input/output"):
        write(b"second")
    assert read_student(folder).lineage == b"first"
    assert names(tmp_path) == ["snapshot", "student"]


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "lineage.msgpack"])
def test_a_missing_file_is_named(write: Callable[..., Path], name: str) -> None:
    folder = write()
    (folder / name).unlink()
    with pytest.raises(Failed, match=f"not a student: no {name}") as refused:
        read_student(folder)
    assert refused.value.where == str(folder)
    assert "fetch" in refused.value.fix


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"no model\.safetensors, config\.json, lineage\.msgpack"):
        read_student(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "format is None"),
        (b'{"format": "dcfm-node/student/9"}', "student/9"),
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


def _unlike(folder: Path) -> list[str]:
    digest = snapshot_of(WEIGHTS).digest
    return differing(read_student(folder), MANIFEST, None, digest)


def test_a_folder_as_it_was_written_is_what_its_lineage_gives(write: Callable[..., Path]) -> None:
    folder = write()
    assert _unlike(folder) == []
    assert read_student(folder).card == model_card(MANIFEST, FACTS).encode()
    (folder / "README.md").unlink()
    assert _unlike(folder) == []
    assert read_student(folder).card is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("digest", "00" * 32),
        ("name", "other"),
        ("sample_shape", [3, 8, 9]),
        ("attributes", {"digit": ["0", "1", "2"]}),
        ("network", {"kind": "mlp", "width": 4_096, "depth": 16, "predict": "sample"}),
        ("scale", {"mean": [0.0], "deviation": [1e6]}),
        ("manifest", None),
        ("more", 1),
    ],
)
def test_each_field_of_the_config_is_held_against_the_lineage(
    write: Callable[..., Path], field: str, value: object
) -> None:
    folder = write()
    config = json.loads((folder / "config.json").read_text()) | {field: value}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    assert _unlike(folder) == [field]


def test_the_config_has_the_scale_to_the_last_digit() -> None:
    scale = Scale(mean=(1013.2500000000001, -0.1), deviation=(1e-30, 1 / 3))
    config = json.loads(json_bytes(config_of(MANIFEST, scale, bytes(32))))
    assert Scale.model_validate_json(json.dumps(config["scale"])) == scale
    assert config_of(MANIFEST, None, bytes(32))["scale"] is None


@pytest.mark.parametrize(
    "respell",
    [
        lambda text: text.replace('"digest":', '"digest": "00",\n  "digest":'),  # twice
        lambda text: text.replace("[\n    3,", "[\n    3.0,"),
        lambda text: text + " ",
    ],
)
def test_a_config_of_another_spelling_is_not_what_the_lineage_gives(
    write: Callable[..., Path], respell: Callable[[str], str]
) -> None:
    folder = write()
    text = (folder / "config.json").read_text()
    assert respell(text) != text
    (folder / "config.json").write_text(respell(text))
    assert _unlike(folder) == ["spelled in another way"]


def test_what_lies_beside_a_student_is_named(write: Callable[..., Path]) -> None:
    folder = write()
    (folder / "grid.png").write_text("")
    assert read_student(folder).others == ["grid.png"]


@pytest.mark.parametrize(
    ("name", "most"), [("config.json", MAX_TEXT_BYTES), ("lineage.msgpack", MAX_LINEAGE_BYTES)]
)
@pytest.mark.parametrize("what", ["sparse", "fifo", "folder", "device"])
def test_what_is_no_file_of_a_students_size_is_not_read(
    write: Callable[..., Path], name: str, most: int, what: str
) -> None:
    path = write() / name
    path.unlink()
    match what:
        case "sparse":
            path.touch()
            os.truncate(path, most + 1)
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "device":
            path.symlink_to("/dev/zero")
    reason = {"sparse": "too large", "folder": "a folder"}.get(what, "not a regular file")
    with pytest.raises(Failed, match=reason) as refused:
        read_student(path.parent)
    assert refused.value.where == str(path)
    assert refused.value.fix


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
    method = find("methods", MethodSettings, name).model_validate(
        {"name": name, "local": Training(steps=9)}
    )
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


def test_the_card_tells_how_samples_are_guided() -> None:
    assert "Sampling adds up the attributes (Eq. 5 of DCFM), with a guidance weight of 1." in (
        model_card(MANIFEST, FACTS)
    )
    method = MANIFEST.method.model_copy(update={"composed": False})
    joint = MANIFEST.model_copy(update={"method": method}).guided(1.3, 1.6)
    card = model_card(joint, FACTS)
    assert "together, with a guidance weight of 1.3 for combinations trained on and 1.6 for" in card
    assert config_of(joint, None, b"")["manifest"]["method"]["guidance"]["novel"] == 1.6


def test_the_cards_command_names_values_as_a_shell_reads_them() -> None:
    values = ("`x`", "it's | $HOME", "plain")
    attributes = (Attribute(name="colour", values=values),)
    card = model_card(manifest(attributes=attributes), FACTS)
    command = next(line for line in card.splitlines() if "student sample" in line)
    assert shlex.split(command)[4:6] == ["--where", f"colour={values[1]}"]
    assert r"| colour | \`x\`, it's \| \$HOME, plain |" in card


HOSTILE = (
    "a\n```\n<script>alert(1)</script>\n",
    "`````\n# Approved",
    "| --- |\n[free](http://x)",
    "\u202esdrawkcab",
    "\x1b[2J&#x202e;",
)


def test_no_value_ends_a_code_block_a_cell_or_a_line_of_the_card() -> None:
    attributes = (Attribute(name="a", values=HOSTILE),)
    facts = replace(
        FACTS, superseded={"east": HOSTILE[0]}, version=HOSTILE[2], metrics={HOSTILE[1]: 1.0}
    )
    card = model_card(manifest(attributes=attributes), facts)
    assert [line for line in card.splitlines() if line.startswith("```")] == ["```sh", "```"]
    command = next(line for line in card.splitlines() if "student sample" in line)
    assert command == "dcfm-node student sample . -n 64 --out grid.png"
    for raw in ("<script>", "[free]", "\n# Approved", "\u202e", "\x1b", " &#"):
        assert raw not in card
    assert r"| \`\`\`\`\`\\n\# Approved | 1 |" in card
