"""CSV files as people have them: each row is one line of the operator's list, or a refusal."""

import os
from pathlib import Path

import pytest

from dcfm_node.data.source import SiloData, load
from dcfm_node.errors import DataError
from tests.unit.data.oddities import RUN, everything, folder, grey


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures, i0.png to i11.png, all different."""
    for i in range(12):
        grey(20 * i).save(tmp_path / f"i{i}.png")
    return tmp_path


def told(where: Path, text: str | bytes) -> SiloData:
    data = text if isinstance(text, bytes) else text.encode()
    (where / "labels.csv").write_bytes(data)
    return load(folder(where, "labels.csv"), RUN)


TWO = "file,finding\ni0.png,mass\ni1.png,none\n"


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        "\ufeff" + TWO,
        TWO.replace("\n", "\r\n"),
        TWO.replace("\n", "\r"),
        TWO.replace("\n", "\n\n") + "\n\n",
        "\n" + TWO,
        TWO + ",\n , \n",
        TWO.replace("file,finding", " file , finding "),
        TWO.replace("mass", " mass "),
        TWO.replace("i0.png", " i0.png "),
        TWO.replace("i0.png", "./i0.png"),
        TWO.replace("i0.png", "sub/../i0.png"),
        TWO.replace("mass\n", "mass,\n"),
        TWO[:-1],
        'file,finding,notes\ni0.png,mass,"one line\nand another, with a comma"\ni1.png,none,""\n',
        'file,finding,notes\ni0.png,mass,"5"" lesion"\ni1.png,none,\n',
        'file,finding,notes\ni0.png,mass,5" lesion\ni1.png,none,6" lesion\n',
        'notes,finding,file\n"see i5.png\nand more, and more",mass,i0.png\n,none,i1.png\n',
        '"file","finding"\n"i0.png","mass"\n"i1.png","none"\n',
        ",file,finding,,\n0,i0.png,mass,,\n1,i1.png,none,,\n",
    ],
)
def test_a_table_is_read_as_people_see_it(pictures: Path, text: str) -> None:
    x, c = everything(told(pictures, text))
    found = {round((p[0, 0, 0] + 1) * 127.5): label for p, (label,) in zip(x, c, strict=True)}
    assert found == {0: 1, 20: 0}


SWALLOWED = [f"i{i}.png,{('mass', 'none')[i % 2]},ok" for i in range(12)]


def swallowing(*lines: tuple[int, str]) -> str:
    rows = list(SWALLOWED)
    for number, row in lines:
        rows[number] = row
    return "\n".join(["file,finding,notes", *rows, ""])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (swallowing((2, 'i2.png,mass,"5 cm lesion')), 4, "is never closed"),
        (swallowing((11, 'i11.png,none,"5 cm lesion')), 13, "is never closed"),
        (
            swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,6 cm"')),
            4,
            "lines that look like rows",
        ),
        (
            swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,"')),
            4,
            "lines that look like rows",
        ),
        (swallowing((2, 'i2.png,mass,"5 cm'), (5, 'i5.png,none,6" big')), 4, "not a row of CSV"),
        (swallowing((3, '"i3.png,none,ok')), 5, "is never closed"),
        ('file,finding,"notes\n' + "\n".join(SWALLOWED), 1, "is never closed"),
        ('file,finding,"notes\ni0.png,mass,"\n', 1, "lines that look like rows"),
        ('notes,finding,file\n"a\nb,none,i1.png\nc",mass,i0.png\n', 2, "lines that look like rows"),
        (
            'file,finding,notes\ni0.png,mass,"ok\ngone.png,none,ok"\n',
            2,
            "lines that look like rows",
        ),
        (
            'notes,finding,file\n5,none,i0.png\nlesion,"mass,i1.png\n6,none",i2.png\n',
            3,
            "lines that look like rows",
        ),
        ("file,finding,finding\ni0.png,mass,none\n", 1, "two columns 'finding'"),
        ("file,finding, finding\ni0.png,mass,none\n", 1, "two columns 'finding'"),
        ("file,file,finding\ni0.png,i1.png,none\n", 1, "two columns 'file'"),
        ("file,finding,a,a\ni0.png,none,,\n", 1, "two columns 'a'"),
        (TWO + "i0.png,none\n", 4, "line 2 lists already"),
        (TWO + "./i0.png,none\n", 4, "line 2 lists already"),
        (TWO + "hard.png,none\n", 4, "line 2 lists already"),
        (TWO + "soft.png,none\n", 4, "line 2 lists already"),
        (TWO + "through/i1.png,none\n", 4, "line 3 lists already"),
        ("file,finding,notes\ni0.png,mass\n", 2, "2 cells for 3 columns"),
        ("file,finding\ni0.png,mass,none\n", 2, "3 cells for 2 columns"),
        ("file,finding\ni0.png,mass, a note\n", 2, "3 cells for 2 columns"),
        ("file,finding\ni0.png\n", 2, "has no cell for 'finding'"),
        ("file,finding\n\n\ni0.png,\n", 4, "gives no 'finding'"),
        ("file,finding\ni0.png,  \n", 2, "gives no 'finding'"),
        ("file,Finding\ni0.png,mass\n", 2, "gives no 'finding'"),
        ("file,finding\n,mass\n", 2, "names no file"),
        ("file,finding\ni0.png,ma\0ss\n", 2, "NUL"),
        (b"file,finding\ni0.png,mass\ni1.png,na\xefve\n", 3, "not text in UTF-8"),
        (b"\xef\xbb\xbffile,finding\r\ni0.png,mass\r\ni1.png,na\xefve\n", 3, "not text in UTF-8"),
        (TWO.encode("utf-16"), 0, "UTF-16"),
        (TWO.encode("utf-16-le"), 1, "NUL"),
        (TWO.replace(",", ";"), 0, "semicolons separate its columns"),
        (TWO.replace(",", "\t"), 0, "tabs separate its columns"),
        (TWO.replace("file", "File"), 0, "no column 'file', only 'File', 'finding'"),
        ("file,finding\n/etc/passwd,mass\n", 2, "outside"),
        ("file,finding\n../i0.png,mass\n", 2, "outside"),
        ("file,finding\nsub/../../i0.png,mass\n", 2, "outside"),
        ("file,finding\n.,mass\n", 2, "not a file"),
        ("file,finding\nthrough,mass\n", 2, "not a file"),
    ],
)
def test_a_table_is_refused_by_line(
    pictures: Path, text: str | bytes, line: int, what: str
) -> None:
    (pictures / "hard.png").hardlink_to(pictures / "i0.png")
    (pictures / "soft.png").symlink_to("i0.png")
    (pictures / "through").symlink_to(".")
    with pytest.raises(DataError) as caught:
        told(pictures, text)
    assert what in caught.value.what
    assert caught.value.where == str(pictures / "labels.csv") + (f":{line}" if line else "")
    assert caught.value.fix


def test_a_pipe_or_a_missing_file_in_a_table_is_named(pictures: Path) -> None:
    os.mkfifo(pictures / "pipe.png")
    with pytest.raises(DataError, match=r"labels\.csv:2: names .*pipe\.png', which is not a file"):
        told(pictures, "file,finding\npipe.png,mass\n")
    with pytest.raises(DataError, match=r"labels\.csv:3 lists") as caught:
        told(pictures, "file,finding\ni0.png,mass\nsub\\i1.png,mass\n")
    assert caught.value.where == str(pictures / "sub\\i1.png")
    assert "with / between folders" in caught.value.fix
