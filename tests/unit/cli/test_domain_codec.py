"""`domain codec`: a codec of public radiographs, its error and a picture."""

import hashlib
import json
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from dcfm_node.networks.settings import AutoencoderSettings, LinearCodecSettings
from tests.unit.cli.running import run
from tests.unit.domains.chest.radiographs import write


@pytest.mark.parametrize("kind", ["autoencoder", "linear"])
def test_a_codec_is_written_with_what_it_loses(
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "nih").mkdir()
    folder, out = write(tmp_path / "nih", first=230), tmp_path / "codec"
    options = ("--kind", kind, "--size", 16, "--steps", 3, "--features", 5)
    asked = ("domain", "codec", "chest-xray", "--data", folder, "--out", out, *options)
    assert run(monkeypatch, *asked, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    data = (out / "codec.safetensors").read_bytes()
    assert said["digest"] == hashlib.sha256(data).hexdigest()
    assert said["samples"] == 98
    assert 0.0 < said["error"] < 1.0
    section = tomllib.loads("\n".join(said["section"]))["codec"]
    model = {"autoencoder": AutoencoderSettings, "linear": LinearCodecSettings}[kind]
    assert model.model_validate(section, strict=False).digest.hex() == said["digest"]
    with Image.open(out / "codec.png") as picture:
        assert picture.width > 8 * 64
    assert run(monkeypatch, *asked) == 2, "the folder exists"
    again = (*asked[:6], tmp_path / "again", *options)
    assert run(monkeypatch, *again) == 0
    assert f'\nkind = "{kind}"\n' in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["codec.png", "codec.safetensors"]
