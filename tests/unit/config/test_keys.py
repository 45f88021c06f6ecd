"""A node's secrets on disk."""

import os
import stat
from pathlib import Path

import pytest
import zmq

from dcfm_node.config.keys import HANDOVER_FILE, LINK_FILE, SIGN_FILE, create_keys, load_keys
from dcfm_node.errors import ConfigError, Failed

NOWHERE: dict[str, str] = {}


def test_keys_come_back_as_they_were_made(tmp_path: Path) -> None:
    made, loaded = create_keys(tmp_path / "keys"), load_keys(tmp_path / "keys", NOWHERE)
    assert loaded.sign_public == made.sign_public
    assert len(loaded.sign_public) == 32
    assert (loaded.link_secret, loaded.link_public) == (made.link_secret, made.link_public)
    assert zmq.curve_public(made.link_secret.encode()).decode() == made.link_public


def test_only_their_owner_may_read_them(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "keys").iterdir()}
    assert modes == {SIGN_FILE: 0o600, LINK_FILE: 0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


@pytest.mark.parametrize("present", [SIGN_FILE, LINK_FILE])
def test_keys_are_never_overwritten(tmp_path: Path, present: str) -> None:
    (tmp_path / present).write_text("precious")
    with pytest.raises(ConfigError) as caught:
        create_keys(tmp_path)
    assert caught.value.where == str(tmp_path / present)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {present: "precious"}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611])
@pytest.mark.parametrize("name", [SIGN_FILE, LINK_FILE])
def test_keys_that_others_may_use_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    folder = tmp_path / "my keys"
    create_keys(folder)
    (folder / name).chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as caught:
        load_keys(folder, NOWHERE)
    assert caught.value.fix == f"chmod 600 '{folder / name}'"


@pytest.mark.parametrize("name", [SIGN_FILE, LINK_FILE])
def test_a_missing_key_is_named(tmp_path: Path, name: str) -> None:
    create_keys(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConfigError) as caught:
        load_keys(tmp_path, NOWHERE)
    assert caught.value.where == str(tmp_path / name)
    assert "dcfm-node init" in caught.value.fix


@pytest.mark.parametrize("name", [SIGN_FILE, LINK_FILE])
@pytest.mark.parametrize("text", ["", "secret", "zz" * 32, "00" * 31, "~" * 40, "é" * 40])
def test_a_malformed_key_is_refused_and_not_shown(tmp_path: Path, name: str, text: str) -> None:
    create_keys(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match="is not a key") as caught:
        load_keys(tmp_path, NOWHERE)
    assert not text or text not in str(caught.value)


def test_credentials_go_first(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    granted = create_keys(tmp_path / "credentials")
    for file in (tmp_path / "credentials").iterdir():
        file.chmod(0o440)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert load_keys(tmp_path / "keys", environ).sign_public == granted.sign_public


def test_credentials_of_others_do_not_matter(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys")
    (tmp_path / "credentials").mkdir()
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
    assert load_keys(tmp_path / "keys", environ).sign_public == made.sign_public


def test_half_the_credentials_are_not_mixed_with_the_folder(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    create_keys(tmp_path / "credentials")
    (tmp_path / "credentials" / LINK_FILE).unlink()
    with pytest.raises(ConfigError) as caught:
        load_keys(tmp_path / "keys", {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert caught.value.where == str(tmp_path / "credentials" / LINK_FILE)


def test_a_printed_form_holds_no_secret(tmp_path: Path) -> None:
    keys = create_keys(tmp_path)
    assert keys.link_secret not in repr(keys)
    assert keys.sign.private_bytes_raw().hex() not in repr(keys)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        create_keys(tmp_path / "file" / "keys")


def test_a_folder_of_keys_that_others_may_use_is_tightened(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(0o755)
    create_keys(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o775)
    load_keys(folder, NOWHERE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_keys_that_cannot_be_tightened_is_refused_if_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_keys(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    monkeypatch.setattr(Path, "chmod", lambda path, mode: None)
    with pytest.raises(Failed, match="mode 0755"):
        load_keys(tmp_path / "keys", NOWHERE)
    monkeypatch.setattr("os.access", lambda path, mode: False)  # a read-only mount of secrets
    load_keys(tmp_path / "keys", NOWHERE)


@pytest.mark.parametrize("name", [SIGN_FILE, LINK_FILE, HANDOVER_FILE])
def test_a_pipe_or_a_large_file_is_no_key_and_is_not_waited_for(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "keys"
    create_keys(folder)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name, 0o600)
    with pytest.raises(ConfigError) as told:
        load_keys(folder, NOWHERE)
    assert told.value.where == str(folder / name)
    (folder / name).unlink()
    (folder / name).touch(0o600)
    os.truncate(folder / name, 8 << 30)  # it takes no room on the disk
    with pytest.raises(ConfigError) as told:
        load_keys(folder, NOWHERE)
    assert told.value.where == str(folder / name)
