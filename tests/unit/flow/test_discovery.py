"""Factors found without labels: what they see, the expected loss, and that training finds them."""

import itertools

import pytest
import torch

from dcfm_node.flow.discovery import Discovering, Factors, Wish, discover, features_of, seen
from dcfm_node.flow.trainer import Callbacks
from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records.settings import Training

COLOURS = torch.tensor([[1.0, 0.1, 0.1], [0.2, 0.9, 0.1], [0.1, 0.3, 1.0]])


def painted(rows: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Bars (N, 3, 4, 4) in [-1, 1], upright or lying, in three colours; and these values."""
    draws = torch.Generator().manual_seed(seed)
    z = torch.stack([torch.randint(n, (rows,), generator=draws) for n in (2, 3)], dim=1)
    grey = torch.zeros(2, 4, 4)
    grey[0, :, 1:3], grey[1, 1:3] = 1.0, 1.0
    noise = 0.8 + 0.2 * torch.rand(rows, 1, 4, 4, generator=draws)
    return 2 * COLOURS[z[:, 1], :, None, None] * grey[z[:, 0], None] * noise - 1, z


def test_brightness_is_blind_to_colour_and_mean_colour_to_place() -> None:
    x, _ = painted(20)
    moved = x.flatten(2)[:, :, torch.randperm(16)].reshape(x.shape)
    torch.testing.assert_close(seen(x, "mean-colour"), seen(moved, "mean-colour"))
    other = (x.flip(1) + 1) * 0.7 - 1
    torch.testing.assert_close(seen(x, "brightness"), seen(other, "brightness"))
    assert not torch.allclose(seen(x, "everything"), seen(other, "everything"))
    for sees in ("everything", "brightness", "mean-colour"):
        assert seen(x, sees).shape == (20, features_of((3, 4, 4), sees))
    with pytest.raises(ValueError, match="three channels"):
        seen(x[:, :1], "brightness")


def test_the_expected_error_is_that_over_all_values() -> None:
    """E over independent values of |u - v(z)|² = |u - E v|² + Σ_k Var(v_k)."""
    torch.manual_seed(0)
    model = Factors((5,), [Wish(2), Wish(3)], MlpSettings(width=8, depth=1))
    x1, x, u = torch.randn(3, 7, 5)
    t = torch.rand(7)
    mean, variance, found = model.expected(x1, x, t)
    whole = torch.zeros(7)
    for a, b in itertools.product(range(2), range(3)):
        z = torch.tensor([a, b]).repeat(7, 1)
        error = (u - model.field(x, t, z)).square().sum(dim=1)
        whole = whole + found[0][:, a] * found[1][:, b] * error
    torch.testing.assert_close((u - mean).square().sum(dim=1) + variance, whole)


def test_training_finds_the_factors_that_the_views_tell_apart() -> None:
    x, z = painted(200)
    stage = Discovering(x, Training(steps=120, batch=32, learning_rate=1e-2))
    wishes = [Wish(2, "brightness"), Wish(3, "mean-colour")]
    model = discover(stage, wishes, MlpSettings(width=16, depth=1), seed=0, callbacks=Callbacks())
    found = model.finder.values(x)
    for k, size in enumerate((2, 3)):
        pairs = {(int(a), int(b)) for a, b in zip(found[:, k], z[:, k], strict=True)}
        assert len(pairs) == size, f"factor {k}: each value is one value"
    asked = torch.tensor([[0, 0], [1, 2]])
    drawn = model.draw(asked, torch.randn(2, 3, 4, 4), 4)
    assert drawn.shape == (2, 3, 4, 4)
    assert drawn.isfinite().all()
    assert (
        stage.objective(model, stage.block(1, torch.Generator().manual_seed(0))[0])[1]["loss"] > 0
    )


def test_what_two_factors_tell_of_each_other_costs() -> None:
    x, z = painted(64)
    model = Factors((3, 4, 4), [Wish(3), Wish(3)], MlpSettings(width=8, depth=1))
    rows = Discovering(x, Training(steps=1, batch=64)).block(1, torch.Generator())[0]
    model.finder.forward = lambda x1: [torch.eye(3)[z[:, 1]]] * 2  # type: ignore[method-assign,assignment]
    rows = type(rows)(x, rows.x0, rows.t, None)
    losses = [
        Discovering(x, Training(steps=1), independence=w).objective(model, rows)[0]
        for w in (0.0, 1.0)
    ]
    assert (losses[1] - losses[0]).item() == pytest.approx(1.0, abs=0.1), (
        "one tells all of the other"
    )
