"""Journals reach one state whatever the order, and forks reach everyone (SPEC 3.3, 3.4, 4.4)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from dcfm_node.records.messages import Entries
from dcfm_node.swarm.effects import Send
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.journal import Journals, Offered
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.wire.envelope import Sealed
from tests.unit.swarm.builders import Run, expert, join

RUN = Run(3)

# What one author signs: how far it rewinds its journal first, how many epochs it skips, which text
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1)), min_size=1, max_size=9
)


def said_by(index: int, steps: list[tuple[int, int, int]], *, honest: bool) -> list[Sealed]:
    """Everything an author ever signed. An honest one rewinds only under a new epoch."""
    author = RUN.authors[index].anew()
    said, epoch = [], 0
    for rewind, skip, text in steps:
        at = max(0, len(author.journal) - rewind)
        before = author.journal[at - 1].entry.epoch if at else 0
        if honest:
            epoch += skip + (at < len(author.journal))
        else:
            epoch = before + skip
        body = join(author.name).model_copy(update={"distils": bool(text)}) if at == 0 else None
        said.append(author.say(body or expert(text), epoch=epoch, at=at))
    return said


def journals() -> Journals:
    return Journals(RUN.manifest)


def exchanges(count: int) -> list[Exchange]:
    alive = (Liveness(live_s=10, stall_s=60, duty_s=3_600) for _ in range(count))
    made = [Exchange.create(RUN.manifest, *each) for each in zip(RUN.keys, alive, strict=False)]
    for exchange in made:
        for peer in exchange.peers.values():
            peer.linked = True
    return made


def talk(nodes: list[Exchange], rng: random.Random, loss: float, limit: int = 400) -> int:
    """Random pairs exchange what they hold until all agree, while time passes; how many exchanges
    that took."""
    by_key = {node.me: node for node in nodes}
    for turn in range(limit):
        if len({str(node.replica.journals.heads()) for node in nodes}) == 1:
            return turn
        for node in nodes:
            node.replica.journals.breathe()
        a, b = rng.sample(nodes, 2)
        letters = [(a.me, Send(b.me, a.sync(reply=True)))]
        while letters:
            sender, send = letters.pop(rng.randrange(len(letters)))
            if rng.random() < loss:
                continue
            effects = by_key[send.peer].hear(sender, send.message, 0.0)
            letters += [(send.peer, effect) for effect in effects if isinstance(effect, Send)]
    raise AssertionError("they never agreed")


@given(STEPS, st.randoms(use_true_random=False))
def test_one_chain_in_any_order_with_repeats_ends_the_same(steps, rng) -> None:
    straight = [(0, skip, text) for _, skip, text in steps]
    said = said_by(0, straight, honest=True)
    orderly, shuffled = journals(), journals()
    for sealed in said:
        assert orderly.offer(sealed) is Offered.NEW
    for _ in said:
        for sealed in rng.sample(said, len(said)) + said[:2]:
            assert shuffled.offer(sealed) in (Offered.NEW, Offered.KNOWN, Offered.GAP)
    assert shuffled.heads() == orderly.heads()


@given(STEPS, st.randoms(use_true_random=False))
def test_lost_tails_give_way_in_any_order(steps, rng) -> None:
    """An author that starts again under higher epochs never forks, and its last word stands."""
    said = said_by(0, steps, honest=True)

    held = journals()
    for _ in range(len(said) + 1):
        for sealed in rng.sample(said, len(said)):
            held.breathe()
            assert held.offer(sealed) is not Offered.FORK
    in_order = journals()
    for sealed in said:
        in_order.breathe()
        in_order.offer(sealed)
    assert held.heads() == in_order.heads()
    assert not held.forks


@given(STEPS, st.randoms(use_true_random=False), st.integers(1, 3))
def test_however_seldom_tails_may_be_replaced_the_last_word_stands(steps, rng, times) -> None:
    """SPEC 3.3.4: what is put off is said again, so that it costs time and nothing else."""
    said = said_by(0, steps, honest=True)
    held = journals()
    for _ in range(len(said) + 1):
        held.breathe()
        replaced = 0
        for sealed in (sealed for _ in range(times) for sealed in rng.sample(said, len(said))):
            replaced += held.offer(sealed) is Offered.REPLACED
            assert replaced <= 1
    in_order = journals()
    for sealed in said:
        in_order.breathe()
        in_order.offer(sealed)
    assert held.heads() == in_order.heads()


@given(STEPS, st.integers(0, 2**32), st.sampled_from([0.0, 0.3]))
def test_two_nodes_agree_by_gossip_under_loss(steps, seed, loss) -> None:
    rng = random.Random(seed)
    said = said_by(2, steps, honest=True)
    nodes = exchanges(2)
    for sealed in said:
        for node in rng.sample(nodes, rng.randint(0, 2)):
            message = Entries(run=RUN.id, entries=(sealed.envelope,), beats=())
            node.hear(next(iter(node.peers)), message, 0.0)
    talk(nodes, rng, loss)


@given(STEPS, st.integers(0, 2**32))
def test_forks_reach_everyone_and_all_agree(steps, seed) -> None:
    """However an author rewrites its past, whoever heard which part: in the end one state."""
    rng = random.Random(seed)
    said = said_by(2, steps, honest=False)
    nodes = exchanges(2)
    for node in nodes:
        for sealed in rng.sample(said, rng.randint(0, len(said))) + said[: rng.randint(0, 9)]:
            message = Entries(run=RUN.id, entries=(sealed.envelope,), beats=())
            node.hear(next(iter(node.peers)), message, 0.0)
    talk(nodes, rng, 0.2)
    forks = [set(node.replica.journals.forks) for node in nodes]
    assert forks[0] == forks[1]
