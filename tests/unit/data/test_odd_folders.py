"""Folders and names as people have them: links, what is hidden, either form of Unicode."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcfm_node.data.source import load
from dcfm_node.data.spec import AttributeSource, NpzData
from dcfm_node.errors import DataError
from tests.unit.data.manifests import manifest
from tests.unit.data.oddities import RUN, everything, folder, grey


@pytest.mark.parametrize("there", ["NFC", "NFD"])
@pytest.mark.parametrize("here", ["NFC", "NFD"])
def test_names_are_the_same_in_either_form_of_unicode(
    tmp_path: Path, there: Any, here: Any
) -> None:
    stored, written = (unicodedata.normalize(form, "naïve") for form in (there, here))
    run = manifest(shape=(1, 2, 3), attributes=(("finding", ("none", written)),))
    (tmp_path / stored).mkdir()
    grey(0).save(tmp_path / stored / f"{stored}.png")
    grey(9).save(tmp_path / "b.png")
    table = f"file,{stored}\n{written}/{written}.png,{stored}\nb.png,none\n"
    (tmp_path / "labels.csv").write_text(table)
    source = {"finding": AttributeSource(column=written)}
    spec = folder(tmp_path, "labels.csv").model_copy(update={"attributes": source})
    assert sorted(everything(load(spec, run))[1][:, 0].tolist()) == [0, 1]

    tree = tmp_path / "tree"
    for i, (label, said) in enumerate([(stored, "none"), (stored, stored), (written, "none")]):
        path = tree / str(i) / f"{label}={said}"
        path.mkdir(parents=True)
        grey(i).save(path / "a.png")
    spec = folder(tree).model_copy(update={"attributes": source})
    assert sorted(everything(load(spec, run))[1][:, 0].tolist()) == [0, 0, 1]

    np.savez(tmp_path / "d.npz", **{stored: [stored, "none"], "x": np.eye(2)})
    vectors = manifest(shape=(2,), attributes=(("finding", ("none", written)),))
    npz = NpzData(format="npz", path=tmp_path / "d.npz", attributes=source)
    assert sorted(everything(load(npz, vectors))[1][:, 0].tolist()) == [0, 1]
    mapped = {"finding": AttributeSource(column=written, values={written: "none"})}
    npz = npz.model_copy(update={"attributes": mapped})
    assert everything(load(npz, vectors))[1][:, 0].tolist() == [0, 0]


def test_values_that_differ_in_form_alone_are_told_apart(tmp_path: Path) -> None:
    forms = tuple(unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    run = manifest(shape=(2,), attributes=(("finding", forms),))
    np.savez(tmp_path / "d.npz", x=np.eye(2), finding=forms)
    data = load(NpzData(format="npz", path=tmp_path / "d.npz"), run)
    assert sorted(everything(data)[1][:, 0].tolist()) == [0, 1]


def test_a_name_that_is_no_text_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "finding=mass" / os.fsdecode(b"caf\xe9.png")
    path.parent.mkdir()
    grey(0).save(path)
    path.with_name("b.png").write_bytes(b"")
    path.write_bytes(b"broken")
    path.with_name("b.png").unlink()
    with pytest.raises(DataError) as caught:
        load(folder(tmp_path), RUN)
    assert r"caf\xe9.png" in caught.value.where
    str(caught.value).encode("utf-8")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two pictures in folders named by label."""
    for i, name in enumerate(["none", "mass"]):
        (tmp_path / f"finding={name}").mkdir()
        grey(i).save(tmp_path / f"finding={name}" / "a.png")
    return tmp_path


@pytest.mark.parametrize(
    "name", [".ipynb_checkpoints", "@eaDir", "__MACOSX", "#recycle", "$RECYCLE.BIN", "lost+found"]
)
@pytest.mark.parametrize("where", ["", "finding=mass"])
def test_what_file_servers_hide_is_no_data(labelled: Path, name: str, where: str) -> None:
    hidden = labelled / where / name
    (hidden / "finding=none").mkdir(parents=True)
    grey(9).save(hidden / "finding=none" / "a-checkpoint.png")
    grey(9).save(hidden / "b.png")
    for junk in ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.png"):
        (labelled / "finding=mass" / junk).write_bytes(b"junk")
    data = load(folder(labelled), RUN)
    assert len(everything(data)[0]) == 2
    assert not data.warnings[1:]
    (note,) = data.notes
    assert "5 hidden files and folders were skipped" in note
    assert name in note


def test_a_hidden_folder_may_hold_all_of_it(labelled: Path) -> None:
    hidden = labelled / ".cache"
    hidden.mkdir()
    (labelled / "finding=none").rename(hidden / "finding=none")
    (labelled / "finding=mass").rename(hidden / "finding=mass")
    data = load(folder(hidden), RUN)
    assert len(everything(data)[0]) == 2
    assert data.notes == ()


def test_linked_folders_and_files_are_followed(labelled: Path, tmp_path_factory: Any) -> None:
    store = tmp_path_factory.mktemp("store")
    grey(7).save(store / "c.png")
    (labelled / "finding=none" / "linked").symlink_to(store)
    (labelled / "finding=mass" / "e.png").symlink_to("d")
    grey(8).save(labelled.parent / "d.png")
    (labelled / "finding=mass" / "e.png").unlink()
    (labelled / "finding=mass" / "e.png").symlink_to(labelled.parent / "d.png")
    assert len(everything(load(folder(labelled), RUN))[0]) == 4


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda f: (f / "loop").symlink_to(f), "is the same as"),
        (lambda f: (f / "finding=mass" / "loop").symlink_to(f), "is the same as"),
        (lambda f: (f / "again").symlink_to(f / "finding=mass"), "is the same as"),
        (lambda f: (f / "finding=mass" / "b.png").symlink_to("a.png"), "is the same as"),
        (lambda f: (f / "finding=mass" / "b.png").hardlink_to(f / "finding=none/a.png"), "same as"),
        (
            lambda f: (f / "finding=mass" / "b.png").symlink_to("gone.png"),
            "is a link whose target does not exist",
        ),
        (lambda f: (f / "gone").symlink_to("nowhere"), "is a link whose target does not exist"),
        (lambda f: (f / "ring").symlink_to("ring"), "symbolic links"),
        (lambda f: os.mkfifo(f / "finding=mass" / "b.png"), "is neither a file nor a folder"),
        (lambda f: (f / "finding=mass" / "finding=none").mkdir(), "names 'finding' twice"),
        (lambda f: (f / "finding=mass" / "x=1, finding =mass").mkdir(), "names 'finding' twice"),
        (lambda f: (f / "finding=mass,finding=none").mkdir(), "names 'finding' twice"),
    ],
)
def test_a_folder_that_is_not_plain_is_refused_by_name(
    labelled: Path, make: Callable[[Path], Any], what: str
) -> None:
    before = set(labelled.rglob("*"))
    make(labelled)
    with pytest.raises(DataError, match=what) as caught:
        load(folder(labelled), RUN)
    (made,) = set(labelled.rglob("*")) - before
    known = {str(made), str(labelled / "finding=mass"), str(labelled / "finding=none" / "a.png")}
    known.add(str(labelled / "finding=mass" / "a.png"))
    assert caught.value.where in known
    assert caught.value.fix
