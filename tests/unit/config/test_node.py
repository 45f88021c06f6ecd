"""node.toml."""

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

from dcfm_node.config.node import NodeConfig, load_node, node_template
from dcfm_node.data.spec import BuiltinData, FolderData, IdxData, LerobotData, NpzData
from dcfm_node.errors import ConfigError

EXAMPLES = Path(__file__).parents[3] / "configs"
LEAST = 'name = "a"\n[data]\nformat = "npz"\npath = "d.npz"\n'


def node(folder: Path, text: str) -> NodeConfig:
    file = folder / "node.toml"
    file.write_text(text, encoding="utf-8")
    return load_node(file)


def test_the_example_is_what_init_writes() -> None:
    text = (EXAMPLES / "node.toml").read_text(encoding="utf-8")
    assert text == node_template("silo-a")
    assert load_node(EXAMPLES / "node.toml").name == "silo-a"


def test_the_example_spells_out_the_defaults(tmp_path: Path) -> None:
    example = node(tmp_path, node_template("a"))
    least = node(tmp_path, LEAST)
    for table in ("worker", "log", "gossip", "limits", "state", "keys", "distils", "advertise"):
        assert getattr(example, table) == getattr(least, table)
    assert example.data.holdout == least.data.holdout


def test_every_commented_alternative_of_the_example_loads(tmp_path: Path) -> None:
    text = node_template("a").replace("# [advertise]", "[advertise]")
    text = text.replace('# control = "tcp://silo-a', 'control = "tcp://silo-a')
    text = text.replace('# bulk = "tcp://silo-a', 'bulk = "tcp://silo-a')
    text = text.replace("# [data.attributes", "[data.attributes")
    for line in ('column = "label"', 'values = { "three"', 'constant = "red"'):
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    config = node(tmp_path, text)
    assert config.advertise.bulk == "tcp://silo-a.example.org:7401"
    assert isinstance(config.data, NpzData)
    assert config.data.attributes["digit"].values == {"three": "3", "seven": "7"}
    assert config.data.attributes["colour"].constant == "red"


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("idx", IdxData),
        ("folder", FolderData),
        ("lerobot", LerobotData),
        ("builtin", BuiltinData),
    ],
)
def test_every_commented_data_format_of_the_example_loads(
    tmp_path: Path, form: str, kind: type
) -> None:
    before, _, after = node_template("a").partition(f'# format = "{form}"\n')
    lines = []
    for line in after.splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
    text = f'{before.partition("[data]")[0]}[data]\nformat = "{form}"\n' + "\n".join(lines)
    assert isinstance(node(tmp_path, text).data, kind)


def test_the_template_bears_the_name(tmp_path: Path) -> None:
    assert node(tmp_path, node_template("hospital-7")).name == "hospital-7"


@pytest.mark.parametrize("name", ["Hospital", "", "-a", "a b", 'a"', "a" * 33, "a\n"])
def test_the_template_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(ConfigError, match="not a valid silo name"):
        node_template(name)


def test_relative_paths_start_at_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "node.toml").write_text(LEAST)
    monkeypatch.chdir(tmp_path)
    config = load_node(Path("sub/node.toml"))
    assert config.state == tmp_path / "sub" / "state"
    assert config.keys == tmp_path / "sub" / "keys"
    assert isinstance(config.data, NpzData)
    assert config.data.path == tmp_path / "sub" / "d.npz"


def test_absolute_paths_stay(tmp_path: Path) -> None:
    config = node(tmp_path, f'state = "/srv/dcfm"\n{LEAST}')
    assert config.state == Path("/srv/dcfm")


@pytest.mark.parametrize(
    "text",
    [
        'state = "~/x"\n' + LEAST,
        'keys = "~/x"\n' + LEAST,
        LEAST.replace("d.npz", "~/x"),
        'name = "a"\n[data]\nformat = "idx"\npath = "~/x"\nlabels = "~/x"\n',
        'name = "a"\n[data]\nformat = "folder"\npath = "~/x"\nindex = "~/x"\n',
    ],
)
def test_a_tilde_is_the_user_s_folder_wherever_a_path_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("HOME", "/home/eve")
    config = node(tmp_path, text)
    paths = {config.state, config.keys, *config.data.paths}
    assert Path("/home/eve/x") in paths
    assert not [path for path in paths if "~" in str(path)]


def test_the_folder_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="user does not exist") as caught:
        node(tmp_path, f'state = "~no-such-user/x"\n{LEAST}')
    assert caught.value.where == f"{tmp_path / 'node.toml'}:1: state"
    assert caught.value.fix == "write the full path"


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    with pytest.raises(ConfigError, match="not UTF-8 text") as caught:
        node(folder, LEAST)
    assert caught.value.where == str(tmp_path / r"caf\xe9")


def test_labels_and_images_both_start_at_the_file(tmp_path: Path) -> None:
    text = 'name = "a"\n[data]\nformat = "idx"\npath = "x.gz"\nlabels = "y.gz"\n'
    data = node(tmp_path, text).data
    assert isinstance(data, IdxData)
    assert (data.path, data.labels) == (tmp_path / "x.gz", tmp_path / "y.gz")


def test_without_listen_a_node_only_dials_out(tmp_path: Path) -> None:
    config = node(tmp_path, LEAST)
    assert config.listen.control is None
    assert config.listen.bulk is None


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[listen]\nbulk = "tcp://0.0.0.0:1"\n', "5: listen"),
        (
            '[listen]\ncontrol = "tcp://0.0.0.0:1"\n'
            '[advertise]\ncontrol = "tcp://a:1"\nbulk = "tcp://a:2"\n',
            "1",
        ),
        (
            '[advertise]\ncontrol = "tcp://a:1"\nbulk = "tcp://a:2"\n',
            "1",
        ),
        ("[worker]\ndevices = 0\n", "6: worker.devices"),
        ("[worker]\ncheckpoint_s = 0\n", "6: worker.checkpoint_s"),
        ('[worker]\ndevice = "cpu"\nbf16 = true\n', "5: worker"),
        ('[worker]\ndevice = "cpu"\ncompile = true\n', "5: worker"),
        ("[gossip]\ninterval_s = inf\n", "6: gossip.interval_s"),
        ("[limits]\nupload = 65535\n", "5: limits"),
        ("[data.attributes.digit]\ncolumn = 'l'\nconstant = '3'\n", "5: data.attributes.digit"),
        ("[data.attributes.Digit]\ncolumn = 'l'\n", "5: data.attributes.Digit"),
        ("holdout = 1.0\n", "5: data.holdout"),
        ("resize = true\n", "5: data.resize"),
    ],
)
def test_what_cannot_be_followed_is_refused_where_it_stands(
    tmp_path: Path, text: str, place: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        node(tmp_path, LEAST + text)
    assert caught.value.where == f"{tmp_path / 'node.toml'}:{place}"
    assert caught.value.fix


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("[worker]\ndevices = 100\n", "at least 1 and at most 64"),
        ("[worker]\ncheckpoint_s = 0.0\n", "above 0 and at most 86400"),
        ("[gossip]\ninterval_s = 0.01\n", "at least 0.05 and at most 60"),
    ],
)
def test_a_number_out_of_bounds_is_told_both_of_them(tmp_path: Path, text: str, fix: str) -> None:
    with pytest.raises(ConfigError) as caught:
        node(tmp_path, LEAST + text)
    assert caught.value.fix == f"write a number, {fix}"


@pytest.mark.parametrize(("silo", "silos", "name"), [(3, 3, "digits"), (0, 11, "digits")])
def test_a_share_that_does_not_exist_is_refused(
    tmp_path: Path, silo: int, silos: int, name: str
) -> None:
    data = f'format = "builtin"\nname = "{name}"\nsilo = {silo}\nsilos = {silos}\n'
    with pytest.raises(ConfigError) as caught:
        node(tmp_path, f'name = "a"\n[data]\n{data}')
    assert caught.value.where.endswith("node.toml:2: data")


def test_settings_load_without_torch_or_numpy() -> None:
    script = (
        "import sys, dcfm_node.config.run, dcfm_node.config.node\n"
        "print([m for m in ('torch', 'numpy') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
