"""The phase `prepare`: who proposes what all build on, and which proposals this node accepts (SPEC
6.11).

Whatever a node accepts, it derived itself from the same joins. So of any majority that accepted a
proposal, at least one honest silo checked it, and readers need not check it again.
"""

from collections.abc import Sequence

from dcfm_node.records.entries import PREPARATION, Accept, Lease, Preparation, Propose, Vote
from dcfm_node.swarm.agreement import Voice
from dcfm_node.swarm.effects import Waiting
from dcfm_node.swarm.election import Await, Lead, next_move
from dcfm_node.swarm.liveness import Duty
from dcfm_node.swarm.plan_input import PlanInput
from dcfm_node.swarm.said import Said


def prepare(s: PlanInput) -> Vote | Lease | Propose | Accept | Waiting:
    """What this node does until most silos agreed on a preparation."""
    leader = s.view.last_leader(PREPARATION)
    if leader is None:
        early, answer = _joins_missing(s), None
        if early is not None:
            return early
    else:
        answer = _answer(s, leader)
    if isinstance(answer, Accept):
        return answer
    move = next_move(s.view, PREPARATION, s.booth, spoilt=answer == SPOILT or _is_passed(s, leader))
    match move:
        case Vote() | Lease():
            return move
        case Lead() if leader is not None:
            return _propose(s, leader)
        case Await(why, on) if leader is not None and on == leader.author:
            return answer if isinstance(answer, Waiting) else _majority(s, leader, why)
        case Await(why, on):
            return Waiting(why, on=(on,) if on is not None else ())
    raise AssertionError("nobody leads before there is a leader")


def owed(s: PlanInput) -> Accept | None:
    """This silo's word for what most silos agreed on without it, if it may still give it. The more
    journals hold the agreement, the fewer matter."""
    agreed = s.view.agreement.prepared
    if agreed is None or not s.view.agreement.may_accept(s.me, agreed.body.term):
        return None
    return Accept(term=agreed.body.term, preparation=agreed.body.preparation)


def awaited(s: PlanInput) -> list[Duty]:
    """The duties that this node waits for in this phase."""
    leader = s.view.last_leader(PREPARATION)
    found = [Duty(key, "join", 0) for key in s.view.active() if key not in s.view.joins]
    if leader is not None:
        found.append(Duty(leader.author, "prepare", leader.body.term))
        voices = _accepted_before(s, leader)
        unclear = (voice for voice in voices if _is_sound(s, voice) is None)
        found += [Duty(voice.author, "accept", voice.body.term) for voice in unclear]
    return found


SPOILT = "spoilt"
"""What a leader proposed that nobody may accept."""


def _answer(s: PlanInput, leader: Said[Lease]) -> Accept | Waiting | str | None:
    """What this node says to the proposal of a leader; None before there is one, or if it has
    promised another or answered."""
    term, agreement = leader.body.term, s.view.agreement
    proposed = agreement.proposal(term, leader.author)
    if proposed is None or not agreement.may_accept(s.me, term):
        return None
    bound = _carried(s, leader)
    if isinstance(bound, Waiting):
        return bound
    if bound is None:
        founded = s.view.founded(proposed)
        if founded is None:
            why = "waiting for the joins on which the proposed preparation builds"
            return Waiting(why, on=(leader.author,))
        if founded and (silent := _left_out(s, proposed)):
            return Waiting("waiting for a preparation that builds on all joins", on=silent)
    if proposed != bound if bound is not None else not founded:
        return SPOILT
    return Accept(term=term, preparation=proposed)


def _propose(s: PlanInput, leader: Said[Lease]) -> Propose | Waiting:
    term, agreement = leader.body.term, s.view.agreement
    if s.me in agreement.voices.get(term, {}):
        return _majority(s, leader, "")
    if not agreement.may_accept(s.me, term):
        return Waiting("this node voted for a later leader, so it proposes nothing")
    bound = _carried(s, leader)
    if bound is None:
        bound = _joins_missing(s)
    if isinstance(bound, Waiting):
        return bound
    if bound is None:
        active, entries = s.view.active(), s.view.join_entries
        joins = sorted(digest for digest, said in entries.items() if said.author in active)
        made = s.view.derived(tuple(joins))
        assert made is not None
        bound = made.preparation
    return Propose(term=term, preparation=bound)


def _majority(s: PlanInput, leader: Said[Lease], before: str) -> Waiting:
    """What this node waits for once it said its own word in a term; `before` says why until
    then."""
    said = s.view.agreement.voices.get(leader.body.term, {})
    if s.me not in said:
        return Waiting(before, on=(leader.author,))
    silent = tuple(key for key in s.view.active() if key not in said)
    return Waiting("waiting for a majority to accept the preparation", on=silent)


def _is_passed(s: PlanInput, leader: Said[Lease] | None) -> bool:
    """Whether so many silos voted for a later leader that no majority can accept any more what this
    one proposes."""
    return leader is not None and s.view.ballots.joined(PREPARATION) > leader.body.term


def _joins_missing(s: PlanInput) -> Waiting | None:
    """Why a preparation cannot begin yet. A strict run waits for every silo; a tolerant one for a
    quorum, and for the others until they are late."""
    absent = tuple(key for key in s.view.active() if key not in s.view.joins)
    enough = len(s.view.active()) - len(absent) >= s.view.manifest.quorum
    tolerant = s.view.manifest.policy.participation == "tolerant"
    if enough and tolerant and all(s.suspected(Duty(key, "join", 0)) for key in absent):
        return None
    if not absent and enough:
        return None
    return Waiting("waiting for the joins of all silos", on=absent)


def _left_out(s: PlanInput, proposed: Preparation) -> tuple[bytes, ...]:
    """Active silos of a strict run on whose joins a preparation does not build."""
    if s.view.manifest.policy.participation != "strict":
        return ()
    named = {s.view.join_entries[digest].author for digest in proposed.joins}
    return tuple(key for key in s.view.active() if key not in named)


def _carried(s: PlanInput, leader: Said[Lease]) -> Preparation | Waiting | None:
    """What a leader must propose again: of what its voters had accepted before they voted for it,
    that of the highest term; None if there is nothing.

    What is unsound does not count, and what nobody could show to be sound for half of
    `policy.stall_s`: an honest silo accepts only what others can check.
    """
    found = []
    for voice in _accepted_before(s, leader):
        sound = _is_sound(s, voice)
        if sound:
            found.append(voice)
        elif sound is None and not s.suspected(Duty(voice.author, "accept", voice.body.term)):
            why = "waiting for the joins and votes behind a preparation that another silo accepted"
            return Waiting(why, on=(voice.author,))
    newest = max(found, key=lambda voice: voice.body.term, default=None)
    return newest.body.preparation if newest is not None else None


def _accepted_before(s: PlanInput, leader: Said[Lease]) -> Sequence[Voice]:
    """What each of a leader's voters had accepted last before its vote."""
    votes = s.view.ballots.votes[leader.body.term].values()
    cited = set(leader.body.votes)
    said = (s.view.agreement.last(v.author, v.seq) for v in votes if v.digest in cited)
    return [voice for voice in said if voice is not None]


def _is_sound(s: PlanInput, voice: Voice) -> bool | None:
    """Whether a silo accepted what the elected leader proposed, and that follows from its joins;
    None if this node cannot tell yet."""
    term = voice.body.term
    leader = s.view.leader(term)
    if leader is None:
        return None
    proposed = s.view.agreement.proposal(term, leader.author)
    if leader.body.round != PREPARATION:
        return False
    if proposed is None:
        return None
    return proposed == voice.body.preparation and s.view.founded(proposed)
