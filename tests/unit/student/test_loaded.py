"""A student in Python."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dcfm_node
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.student.asked import Correct, asked_of, correctable, switches
from tests.packaging.tree import python
from tests.training.settings import manifest
from tests.unit.student.made import HELD, make

SHAPES = {
    "vectors": ((2,), {"kind": "mlp", "width": 8, "depth": 1}),
    "series": ((2, 16), {"kind": "mixer", "width": 8, "depth": 1}),
    "pictures": ((3, 8, 8), {"kind": "unet", "width": 8, "depth": 2}),
}


@pytest.fixture
def student(tmp_path: Path) -> dcfm_node.Student:
    return dcfm_node.load_student(make(tmp_path / "student"))


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "import sys, dcfm_node; print({'torch', 'numpy', 'pydantic'} & sys.modules.keys())"
    assert python(heavy).stdout.strip() == "set()"
    loaded = "import sys, dcfm_node; dcfm_node.load_student; print('torch' in sys.modules)"
    assert python(loaded).stdout.strip() == "False"
    with pytest.raises(AttributeError, match="no attribute 'load'"):
        _ = dcfm_node.load  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", SHAPES)
def test_three_lines_draw_samples_of_any_kind(tmp_path: Path, kind: str) -> None:
    shape, network = SHAPES[kind]
    student = dcfm_node.load_student(
        make(tmp_path / "student", sample_shape=shape, network=network | {"predict": "velocity"})
    )
    drawn = student.sample(colour="red", n=4)
    assert (student.sample_shape, drawn.x.shape, drawn.x.dtype) == (shape, (4, *shape), np.float32)
    assert drawn["colour"].tolist() == ["red"] * 4
    assert drawn.labels["n"].tolist() == ["one", "two", "three", "one"]
    assert drawn.novel.tolist() == [False, False, True, False]
    assert len(drawn) == 4
    for name in ("x.png", "x.csv", "x.npz"):
        drawn.save(tmp_path / name)
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_array_equal(file["x"], drawn.x)
        assert file["n"].tolist() == drawn["n"].tolist()
    assert min(Image.open(tmp_path / "x.png").size) > 30
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 5


def test_what_it_says_of_itself(student: dcfm_node.Student) -> None:
    assert student.attributes == {"n": ("one", "two", "three"), "colour": ("red", "blue")}
    assert student.unseen_values == (("n", "three"),)
    assert (student.round, student.standing) == (0, "not released")
    assert {len(student.digest), len(student.run)} == {64}
    assert "unmeasured" in str(student.expected)
    assert list(student.counts) == [silo.name for silo in student.manifest.roster]
    assert all(found.keys() == dict(HELD).keys() for found in student.counts.values())
    assert repr(student).startswith(f"<student {student.digest[:12]} of run ")


def test_the_seed_and_the_arguments_decide_the_samples(student: dcfm_node.Student) -> None:
    one, again, other = (student.sample(colour="red", n=5, seed=s).x for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).min() > 0
    held, novel = student.sample({"n": "one"}, n=2), student.sample({"n": "three"}, n=2)
    for drawn, weight in ((held, (1.0, 3.0)), (novel, (3.0, 1.0))):
        where = {"n": drawn["n"][0]}
        np.testing.assert_allclose(
            student.sample(where, n=2, guidance=weight).x, drawn.x, atol=1e-5
        )
        assert np.abs(student.sample(where, n=2, guidance=3.0).x - drawn.x).max() > 1e-4


def test_samples_come_in_the_units_of_the_data(tmp_path: Path) -> None:
    scaled = dcfm_node.load_student(make(tmp_path / "student", scaled=True)).sample(n=50).x
    np.testing.assert_allclose(scaled.mean(axis=0), [1_013.0, -2.0], rtol=0.02)
    spread = scaled.std(axis=0) / [9.0, 0.01]  # that of an untrained network
    assert ((spread > 0.01) & (spread < 2)).all()


def test_progress_goes_to_the_end(student: dcfm_node.Student) -> None:
    seen: list[float] = []
    student.sample(n=3, progress=seen.append)
    assert len(seen) == student.manifest.method.solver_steps
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_errors_say_what_there_is(student: dcfm_node.Student, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no attribute 'color'") as told:
        student.sample(color="red")
    assert "n=one|two|three; colour=red|blue" in told.value.fix
    with pytest.raises(ConfigError, match="n has no value '4'") as told:
        student.sample({"n": 4})
    assert "one, two, three" in told.value.fix
    with pytest.raises(ConfigError, match="colour is given twice"):
        student.sample({"colour": "red"}, colour="blue")
    for wrong in ({"n": 0}, {"seed": -1}, {"guidance": -1.0}, {"guidance": (1.0, float("nan"))}):
        with pytest.raises(ConfigError):
            student.sample(**wrong)  # type: ignore[arg-type]
    with pytest.raises(Failed, match="not a student"):
        dcfm_node.load_student(tmp_path / "none")


def test_a_dict_may_be_given_by_its_name_too(student: dcfm_node.Student) -> None:
    np.testing.assert_array_equal(
        student.sample(where={"n": "two"}, n=4).x, student.sample({"n": "two"}, n=4).x
    )
    with pytest.raises(ConfigError, match="no attribute 'where'"):
        student.sample(where="kitchen")


def test_no_file_is_replaced_unasked(student: dcfm_node.Student, tmp_path: Path) -> None:
    drawn, out = student.sample(n=2), tmp_path / "x.csv"
    out.write_text("mine")
    with pytest.raises(Failed, match="exists already") as told:
        drawn.save(out)
    assert "--force" in told.value.fix
    assert out.read_text() == "mine"
    drawn.save(out, columns=("wind", "load"), force=True)
    assert out.read_text().startswith("wind,load,n,colour\n")
    assert [path.name for path in tmp_path.glob("x.csv*")] == ["x.csv"]
    for names in (("wind",), ("wind", "wind"), ("wind", "n")):
        with pytest.raises(ConfigError, match="names are given"):
            drawn.save(tmp_path / "y.csv", columns=names)
    with pytest.raises(ConfigError, match=r"cannot write \.jpg"):
        drawn.save(tmp_path / "x.jpg")


def test_the_names_of_columns_come_from_the_folder(tmp_path: Path) -> None:
    folder = make(tmp_path / "student")
    (folder / "columns.json").write_text('["load", "wind"]')
    drawn = dcfm_node.load_student(folder).sample(n=4)
    assert drawn.columns == ("load", "wind")
    drawn.save(tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().startswith("load,wind,")


@pytest.mark.parametrize("text", ["{}", '["load"]', '["load", "load"]', '["load", 1]', "no", "[["])
def test_names_that_cannot_be_are_refused(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path / "student")
    (folder / "columns.json").write_text(text)
    with pytest.raises(Failed, match="2 different names") as caught:
        dcfm_node.load_student(folder)
    assert caught.value.where == str(folder / "columns.json")


def test_numbers_of_samples_may_be_given(student: dcfm_node.Student) -> None:
    asked = asked_of(student.manifest, [])
    free = student.draw(asked, n=6, seed=1)
    mask, wanted = torch.tensor([False, True]), torch.full((6, 2), 0.7)
    inpainter = student.inpainter()
    drawn = student.draw(asked, n=6, seed=1, given=inpainter.given(mask, wanted))
    assert (abs(drawn.x[:, 1] - 0.7) < abs(free.x[:, 1] - 0.7)).all()
    # What the mask leaves out has no effect.
    again = student.draw(asked, n=6, seed=1, given=inpainter.given(mask, wanted + ~mask))
    np.testing.assert_array_equal(drawn.x, again.x)


def test_only_an_ensemble_that_needs_not_all_experts_switches(student: dcfm_node.Student) -> None:
    with pytest.raises(ConfigError, match="is one network") as told:
        student.sample(colour="red", n=1, routing="switch")
    assert told.value.where == "--routing"
    with pytest.raises(ConfigError, match="every expert"):
        switches(manifest(method={"name": "dfd"}), "switch")
    ddm = manifest(method={"name": "ddm"})
    assert (switches(ddm, "switch"), switches(ddm, "mix")) == (True, False)
    with pytest.raises(ConfigError, match="no routing 'other'"):
        switches(ddm, "other")


def test_an_expression_is_asked_for_in_python_too(student: dcfm_node.Student) -> None:
    drawn = student.sample("n=one or n=two and not colour=red", n=3)
    assert list(zip(drawn["n"], drawn["colour"], strict=True)) == [
        ("one", "red"),
        ("one", "blue"),
        ("two", "blue"),
    ]
    one = student.sample("n=one", colour="red", n=2)
    assert np.array_equal(one.x, student.sample(n=2, where={"n": "one", "colour": "red"}).x)
    with pytest.raises(ConfigError, match="no combination fits all"):
        student.sample("colour=red", colour="blue")


def test_a_weight_of_its_own_is_that_of_equation_5(tmp_path: Path) -> None:
    """Weights of 1 are the composed rule; other weights are guidance of one attribute alone."""
    path = make(tmp_path / "student", method={"composed": True})
    student = dcfm_node.load_student(path)
    plain = student.sample("n=one and colour=red", n=4, guidance=1.0).x
    assert np.allclose(student.sample("n=one^1 and colour=red^1", n=4).x, plain, atol=1e-6)
    guided = student.sample("n=one and colour=red", n=4, guidance=1.6).x
    both = student.sample("(n=one and colour=red)^1.6", n=4, guidance=1.0).x
    assert np.allclose(both, guided, atol=1e-6)
    assert not np.allclose(both, plain, atol=1e-4)
    away = student.sample("n=one and not colour=blue^0.5", n=4, guidance=1.0)
    assert set(away["colour"]) == {"red"}
    assert not np.allclose(away.x, plain, atol=1e-4)
    nothing = student.sample("n=one and not colour=blue", n=4, guidance=1.0).x
    assert np.array_equal(nothing, plain)


@pytest.mark.parametrize("correct", ["langevin", "mala", "smc"])
def test_a_student_can_be_corrected(student: dcfm_node.Student, correct: Correct) -> None:
    drawn = student.sample("n=one and colour=red^1.5", n=40, correct=correct)
    assert np.isfinite(drawn.x).all()
    again = student.sample("n=one and colour=red^1.5", n=40, correct=correct)
    assert np.array_equal(drawn.x, again.x)
    assert not np.array_equal(drawn.x, student.sample("n=one and colour=red^1.5", n=40).x)


@pytest.mark.parametrize(
    ("method", "why"),
    [
        ({"name": "ddm"}, "is an ensemble"),
        ({"guidance": {"known": 1.5, "novel": 1.5, "from_t": 0.3}}, "part of the times"),
    ],
)
def test_what_has_no_composed_law_is_not_corrected(method: dict[str, object], why: str) -> None:
    run = manifest(method=method)
    assert correctable(run, None) is None
    with pytest.raises(ConfigError, match=why) as told:
        correctable(run, "smc")
    assert told.value.where == "--correct"
