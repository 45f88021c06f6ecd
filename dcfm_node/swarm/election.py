"""Election: which silo distils a round. One vote for each term; a majority elects a leader; a later
term fences earlier ones.

Terms rise over the whole run. In each, candidates are ranked by SHA-256 over (run id, round,
earlier attempts, node id), so that the work changes hands and nobody can choose to lead (SPEC 7).

A leader that makes progress stays, even if a few nodes that lost sight of it vote. A new term needs
a quorum in sight, so a minority waits and does not count terms up. A node stays in one term until
its own clock ends it or an honest node must have left it. So a member that opens many terms wins
nothing, and makes nobody vote more often.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dcfm_node.records.base import MAX_TERM
from dcfm_node.records.entries import PREPARATION, Lease, Vote
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.rounds import Suspected
from dcfm_node.swarm.said import Said
from dcfm_node.swarm.view import View
from dcfm_node.wire.canonical import sha256

MAX_DOUBLINGS = 5
"""A node stays in a term at most 2 ** 5 times as long as in the first one."""


@dataclass
class Stand:
    """The term in which a node votes for the leader of a round.

    Args:
        round: the round.
        ruled: the last leader's term. Only later terms count.
        term: the present term; 0 before the first.
        since: when the node entered it, in seconds.
        left: number of terms that it left.
    """

    round: int
    ruled: int
    term: int = 0
    """0 before the first term."""
    since: float = 0.0
    left: int = 0

    def move(self, view: View, timeout: float, now: float) -> bool:
        """Enter the first contested term, or leave the present one when its time is over. Returns
        True if its time is over and there is no later one: this node should open one."""
        ballots = view.ballots
        if self.term == 0:
            first = ballots.contested(self.round, self.ruled)
            if first is None:
                return True
            self.term, self.since = first, now
        joined = ballots.joined(self.round)
        if self.term < joined:
            self.term, self.since, self.left = joined, now, self.left + 1
        if now < self.since + timeout * 2 ** min(self.left, MAX_DOUBLINGS):
            return False
        later = ballots.contested(self.round, self.term)
        if later is None:
            return True
        self.term, self.since, self.left = later, now, self.left + 1
        return False


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing to publish now.

    Attributes:
        on: the leader or candidate for which this node waits; None if nobody can lead.
    """

    why: str
    on: bytes | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """This node holds the newest certified lease and should distil."""

    term: int
    lease: bytes


@dataclass(frozen=True, slots=True)
class Booth:
    """What an election depends on, apart from the view.

    Attributes:
        candidates: live nodes that report that they can distil, this node included if it can.
        quorate: whether a quorum is in sight.
        suspected: whether a leader made no progress for `policy.stall_s`; never this node itself.
        stand: this node's term in the election for a round, above a leader's term.
        timeout: how long this node stays in its first term, in seconds.
        not_before: the first term in which this node may vote. It may have voted in earlier terms
            and lost the record.
    """

    run: bytes
    me: bytes
    candidates: Callable[[], Sequence[bytes]]
    quorate: Callable[[], bool]
    suspected: Suspected
    stand: Callable[[int, int], Stand]
    timeout: float
    not_before: int
    now: float


def rank(run: bytes, round_: int, attempt: int, node: bytes) -> bytes:
    """The rank of a candidate, 32 bytes; the smallest is chosen first (SPEC 7.1).

    Args:
        attempt: number of earlier terms in which honest silos voted for this round. It is not the
            term: a member that opens terms could choose one among a thousand.
    """
    return sha256(run, round_.to_bytes(8, "big"), attempt.to_bytes(8, "big"), node)


def next_move(
    view: View, round_: int, booth: Booth, *, spoilt: bool = False
) -> Vote | Lease | Lead | Await:
    """What this node does in the election of a round's leader.

    Args:
        spoilt: the last leader broke a rule, so that nothing comes of its term.
    """
    leader = view.last_leader(round_)
    ruled = leader.body.term if leader is not None else 0
    lease = _won(view, round_, ruled, booth.me)
    if lease is not None:
        return lease
    if leader is not None and not (spoilt or _void(view, leader, booth.me)):
        if leader.author == booth.me:
            return Lead(ruled, leader.digest)
        task: Literal["prepare", "lead"] = "prepare" if round_ == PREPARATION else "lead"
        if not booth.suspected(Duty(leader.author, task, ruled)):
            if round_ == PREPARATION:
                return Await("the elected node prepares the run", on=leader.author)
            return Await("the elected node distils", on=leader.author)
    stand = booth.stand(round_, ruled)
    if stand.move(view, booth.timeout, booth.now):
        return _begin(view, round_, booth)
    cast = view.ballots.votes[stand.term]
    if booth.me not in cast and stand.term >= booth.not_before:
        return _vote(view, stand.term, round_, booth)
    waited = cast[booth.me].body.candidate if booth.me in cast else None
    return Await("waiting for the votes of a majority", on=waited)


def _won(view: View, round_: int, ruled: int, me: bytes) -> Lease | None:
    """The lease that this node can claim: of the newest term in which a quorum voted for it, if it
    has not claimed it yet."""
    term = view.ballots.won.get((round_, me), 0)
    if not ruled < term <= view.last_term() or view.ballots.claimed(term, me):
        return None  # a claim whose votes a fork cut off is not repeated
    cast = view.ballots.votes[term].values()
    mine = [vote for vote in cast if vote.body.candidate == me and vote.body.round == round_]
    return Lease(term=term, round=round_, votes=tuple(sorted(vote.digest for vote in mine)))


def _void(view: View, leader: Said[Lease], me: bytes) -> bool:
    """Whether a leader will publish no further student: it published one, it no longer takes part,
    or a later leader (of any round) fences it. A node that still needs a leader then needs another
    one.

    A node publishes no second student itself, even if the others do not count its first: two would
    prove a fault.
    """
    said_one = leader.author == me and me in view.by_lease.get(leader.digest, {})
    spent = said_one or any(said.body.lease == leader.digest for said in view.valid_students())
    return spent or leader.author not in view.active() or view.last_leader() != leader


def _begin(view: View, round_: int, booth: Booth) -> Vote | Await:
    """Open a new term. A minority does not: nobody could win it."""
    if not booth.quorate():
        return Await("fewer than a quorum of silos are in sight, so no leader can be elected")
    term = max(view.last_term() + 1, booth.not_before)
    if term > MAX_TERM:
        return Await("a member voted in the last possible term: no later term can be opened")
    return _vote(view, term, round_, booth)


def _vote(view: View, term: int, round_: int, booth: Booth) -> Vote | Await:
    """Vote for the candidate for which an honest node has already voted, so that terms settle; else
    by rank. One vote alone does not count: the member that opens a term could choose the leader."""
    able = booth.candidates()
    if not able:
        return Await("no live node can distil")
    tally = view.ballots.tally(term, round_)
    swayed = len(view.manifest.roster) - view.manifest.quorum
    # Records, not heartbeats, show who is free: all voters see the same, so votes do not split.
    attempt = view.ballots.attempts(round_, below=term)
    blamed, training, tried = view.blamed(round_), view.missing(round_), view.led(round_)

    def order(node: bytes) -> tuple[bool, bool, bool, bool, bytes]:
        named = tally[node] > swayed
        place = rank(booth.run, round_, attempt, node)
        return node in blamed, node in training, node in tried, not named, place

    return Vote(term=term, round=round_, candidate=min(able, key=order))
