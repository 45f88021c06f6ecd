"""What came by hand is known after a restart, and only of this run."""

from pathlib import Path

import pytest

from dcfm_node.daemon.imports import LastImport, LastImports

RUN = bytes(32)
BROUGHT = LastImport(time_ms=5, bundle_of="south", records=3, snapshots=1)


def test_the_last_of_each_silo_is_kept_until_it_has_a_link(tmp_path: Path) -> None:
    kept = LastImports(tmp_path / "bundles.json", RUN)
    assert kept.by_silo == {}
    kept.note({"south": BROUGHT, "west": BROUGHT})
    later = BROUGHT.model_copy(update={"time_ms": 6})
    kept.note({"south": later})
    again = LastImports(tmp_path / "bundles.json", RUN)
    assert again.by_silo == {"south": later, "west": BROUGHT}
    again.forget("south")
    again.forget("nobody")
    assert LastImports(tmp_path / "bundles.json", RUN).by_silo == {"west": BROUGHT}
    assert LastImports(tmp_path / "bundles.json", bytes([1]) * 32).by_silo == {}


@pytest.mark.parametrize("text", ["", "{}", '{"run": 3}', "\\xff"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / "bundles.json").write_text(text)
    kept = LastImports(tmp_path / "bundles.json", RUN)
    assert kept.by_silo == {}
    kept.note({"south": BROUGHT})
    assert LastImports(tmp_path / "bundles.json", RUN).by_silo == {"south": BROUGHT}


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    kept = LastImports(tmp_path / "no such folder" / "bundles.json", RUN)
    kept.note({"south": BROUGHT})
    assert kept.by_silo == {"south": BROUGHT}
