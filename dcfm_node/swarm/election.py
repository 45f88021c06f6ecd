"""Election: who distils a round. One vote a term, a majority leads, later terms fence earlier ones.

Terms rise over the whole run. In each term the candidates are ranked by SHA-256 over (run id,
term, node id), so that the work moves about and nobody can choose to lead (SPEC 7).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dcfm_node.records.entries import Lease, Vote
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import sha256


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing to say now.

    Attributes:
        on: the leader or the candidate that is waited for; None while nobody can lead.
        until: when to look again, in seconds; None for "at the next event".
    """

    why: str
    on: bytes | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """This node holds the newest certified lease and should distil."""

    term: int
    lease: bytes


def rank(run: bytes, term: int, node: bytes) -> bytes:
    """The smaller, the sooner a candidate is chosen in this term."""
    return sha256(run, term.to_bytes(8, "big"), node)


def next_move(
    view: View,
    *,
    run: bytes,
    me: bytes,
    round_: int,
    candidates: Sequence[bytes],
    late: Callable[[bytes], bool],
    term_since: float,
    timeout: float,
    now: float,
) -> Vote | Lease | Lead | Await:
    """What this node does in the election of a round's distiller.

    Args:
        candidates: live nodes that said they can distil, this node included if it can.
        late: whether a node made no progress for `policy.stall_s`.
        term_since: when the newest term was first seen here, in seconds.
        timeout: how long a term may stay without a leader, in seconds.
    """
    term = view.last_term()
    cast = view.votes.get(term, {})
    if all(vote.body.round != round_ for vote in cast.values()):
        return _vote(view, run, term + 1, round_, candidates)
    lease = view.leader(term)
    if lease is not None:
        if late(lease.author):
            return _vote(view, run, term + 1, round_, candidates)
        if lease.author == me:
            return Lead(term, lease.digest)
        return Await("the elected node distils", on=lease.author)
    mine = [vote for vote in cast.values() if vote.body.candidate == me]
    if len(mine) >= view.manifest.quorum:
        digests = tuple(sorted(vote.digest for vote in mine))
        return Lease(term=term, round=round_, votes=digests)
    if me not in cast:
        return _vote(view, run, term, round_, candidates)
    if now >= term_since + timeout:
        return _vote(view, run, term + 1, round_, candidates)
    waited = cast[me].body.candidate
    return Await("a majority's votes are awaited", on=waited, until=term_since + timeout)


def _vote(
    view: View, run: bytes, term: int, round_: int, candidates: Sequence[bytes]
) -> Vote | Await:
    """For whom most others voted already, so that terms settle; else by rank."""
    if not candidates:
        return Await("no live node can distil")
    votes = view.votes.get(term, {}).values()
    tally = Counter(vote.body.candidate for vote in votes if vote.body.round == round_)
    best = min(candidates, key=lambda node: (-tally[node], rank(run, term, node)))
    return Vote(term=term, round=round_, candidate=best)
