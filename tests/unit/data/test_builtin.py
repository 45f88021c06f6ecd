import sys
from collections import Counter

import numpy as np
import pytest

from dcfm_node.data import builtin
from dcfm_node.errors import UserError
from dcfm_node.swarm.coverage import coverage


@pytest.mark.parametrize("name", builtin.DOMAINS)
@pytest.mark.parametrize("silos", [2, 3, 10])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_domain_is_decentralized_and_coverable(name: str, silos: int, seed: int) -> None:
    domain = builtin.builtin(name, silos, seed)
    sizes = [len(values) for _, values in domain.attributes]
    assert len(domain.silos) == silos
    for share in domain.silos:
        assert share.x.dtype == np.float32
        assert share.c.dtype == np.int64
        assert share.x.shape == (len(share.c), *domain.sample_shape)
        assert len(share.combinations) < len(domain.observed), "no silo sees all"
    counts = Counter(tuple(row) for share in domain.silos for row in share.c.tolist())
    assert coverage(counts, sizes).sufficient
    assert set(counts).isdisjoint(domain.held_out)
    assert len(domain.observed) + len(domain.held_out) == np.prod(sizes)


def test_a_domain_is_a_function_of_its_seed() -> None:
    first, again, other = (builtin.builtin("digits", 3, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.x, b.x) for a, b in zip(first.silos, again.silos, strict=True))
    assert first.held_out == again.held_out != other.held_out


def test_gaussians_lie_around_their_modes() -> None:
    domain = builtin.builtin("gaussians", 3, 0)
    assert domain.held_out == ((1, 1),)
    for share in domain.silos:
        for combination in share.combinations:
            x = share.x[(share.c == combination).all(axis=1)]
            assert np.allclose(x.mean(axis=0), builtin.mode(combination), atol=0.1)
            assert np.allclose(x.std(axis=0), builtin.SIGMA, atol=0.05)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_digits_leave_a_third_unseen_and_stay_in_range(seed: int) -> None:
    domain = builtin.builtin("digits", 3, seed)
    assert len(domain.held_out) >= 60 / 3
    for share in domain.silos:
        assert len(share.combinations) < 60 / 2
        assert share.x.min() >= -1
        assert share.x.max() <= 1


def test_paint_colours_the_strokes() -> None:
    grey = np.zeros((1, 8, 8), dtype=np.float32)
    grey[0, 2, 2] = 1
    image = builtin.paint(grey, np.array([list(builtin.COLOURS).index("yellow")]))
    assert image[0, :, 2, 2] == pytest.approx([1.0, 0.8, -1.0])
    assert (image[0, :, 0, 0] == -1).all()


@pytest.mark.parametrize(
    ("name", "silos", "message"),
    [
        ("letters", 3, "choose one of gaussians, digits"),
        ("gaussians", 1, "two or more"),
        ("digits", 11, "at most 10"),
    ],
)
def test_mistakes_name_their_fix(name: str, silos: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        builtin.builtin(name, silos, 0)


def test_absent_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"dcfm-node\[demo\]"):
        builtin.builtin("digits", 3, 0)
