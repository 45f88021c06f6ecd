"""What a stage drew, read off which network was asked what: how rows are stored does not matter.

Points are random floats, so a point and its time name the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from dcfm_node.flow.losses import Matching, objective
from dcfm_node.flow.sources import BatchSampler
from tests.training.literal import Blocks, Label, by_size
from tests.training.settings import draws

Place = tuple[float, ...]
"""x_t, flat, and t."""


class Witness(nn.Module):
    """A network that remembers where it was asked for which label, in order."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.asked: list[tuple[Place, Label]] = []

    def forward(self, x: Tensor, t: Tensor, c: Tensor) -> Tensor:
        labels = [tuple(label) for label in c.tolist()]
        self.asked += zip(_places(x, t), labels, strict=True)
        return self.net(x, t, c)

    def by_place(self) -> dict[Place, set[Label]]:
        found: dict[Place, set[Label]] = {}
        for place, label in self.asked:
            found.setdefault(place, set()).add(label)
        return found


@dataclass(frozen=True)
class Matched:
    """One row of the matching term; c is masked."""

    x: Tensor
    t: Tensor
    c: Label
    target: Tensor


@dataclass(frozen=True)
class Penalised:
    """One row of the penalty: c^{AB}, A and B, and who was asked for ∅, c^{A} and c^{B}."""

    x: Tensor
    t: Tensor
    c: Label
    blocks: Blocks
    z: tuple[int, int, int]


@dataclass(frozen=True)
class Step:
    """The two losses of one batch, and its rows."""

    fit: Tensor
    ci: Tensor
    matched: list[Matched]
    penalised: list[Penalised]


def step(
    own: Witness, source: BatchSampler, frozen: Mapping[int, Witness], me: int = 0, seed: int = 0
) -> Step:
    """One batch of a source through the objective. The penalty must fall on every row."""
    assert source.settings.ci_batch >= source.settings.batch
    forget(own, *frozen.values())
    (rows,) = source.block(1, draws(seed))
    fit, ci = objective(source.path, own, rows)
    matched = _matched(rows.match)
    return Step(
        fit, ci, matched, penalised(own, frozen, me, source.manifest.cardinalities, matched)
    )


def forget(*nets: Witness) -> None:
    for net in nets:
        net.asked.clear()


def penalised(
    own: Witness,
    frozen: Mapping[int, Witness],
    me: int,
    null: Label,
    matched: Sequence[Matched],
) -> list[Penalised]:
    """The penalty's rows, at the places of the matching term's."""
    mine = own.by_place()
    peers = {k: net.by_place() for k, net in frozen.items() if k != me}
    found = []
    for row in matched:
        place = (*row.x.flatten().tolist(), row.t.item())
        asked = mine[place].union(*(labels.get(place, set()) for labels in peers.values()))
        if len(asked) == 5:  # else what is matched is one of the penalty's own four
            asked.remove(row.c)
        empty, a, b, joint = sorted(asked, key=by_size(null))
        assert empty == null
        z = []
        for term in (null, a, b):
            who = [k for k in peers if term in peers[k].get(place, ())]
            assert len(who) <= 1, f"experts {who} were all asked for {term}"
            z.append(who[0] if who else me)
        blocks = _given(a, null), _given(b, null)
        found.append(Penalised(row.x, row.t, joint, blocks, (z[0], z[1], z[2])))
    return found


def _matched(match: Matching) -> list[Matched]:
    return [
        Matched(match.x[r], match.t[r], tuple(match.c[r].tolist()), match.target[r])
        for r in range(len(match.x))
    ]


def _places(x: Tensor, t: Tensor) -> list[Place]:
    return [(*at, when) for at, when in zip(x.flatten(1).tolist(), t.tolist(), strict=True)]


def _given(label: Label, null: Label) -> tuple[int, ...]:
    return tuple(i for i, value in enumerate(label) if value != null[i])
