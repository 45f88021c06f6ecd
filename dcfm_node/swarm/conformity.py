"""Whether an elected leader made its student as the method has it (SPEC 6.4, 6.8).

What a leader must do, every reader checks from records alone: nobody believes `missing` or `final`
because their author leads. A student that breaks a rule does not count, as if its lease had none
yet; what it waits for (a withdrawal that is not heard of here) may still come.
"""

from collections.abc import Callable

from dcfm_node.records.entries import Student
from dcfm_node.swarm.members import Members
from dcfm_node.swarm.method import method_of
from dcfm_node.swarm.said import Said

Check = Callable[[Members, Said[Student]], str]
"""Why a student whose teachers are known breaks a rule, in words; empty if it does not."""


def flaw(view: Members, said: Said[Student]) -> str:
    """Why a student does not count, naming the clause; empty if it does."""
    for clause, check in RULES.items():
        if why := check(view, said):
            return f"{why} (SPEC {clause})"
    return ""


def _one_each(view: Members, said: Said[Student]) -> str:
    """No silo teaches twice, or from a round to come."""
    experts = [view.expert_entries[entry] for entry in said.body.teachers]
    if len({expert.author for expert in experts}) < len(experts):
        return "one silo teaches it twice"
    later = any(expert.body.round > said.body.round for expert in experts)
    return "an expert of a later round teaches it" if later else ""


def _one_round(view: Members, said: Said[Student]) -> str:
    """Where a method combines experts of one round, they are of one round."""
    if not view.manifest.method.one_round:
        return ""
    rounds = {view.expert_entries[entry].body.round for entry in said.body.teachers}
    return "" if len(rounds) == 1 else "it averages experts of several rounds"


def _whole(view: Members, said: Said[Student]) -> str:
    """Whoever is active taught this very round, or is named as missing."""
    taught = _taught(view, said)
    left_out = [
        silo.name
        for silo in view.manifest.roster
        if silo.key not in taught
        and silo.key not in said.body.missing
        and silo.key in view.active()
    ]
    return f"it leaves out {', '.join(left_out)} without a word" if left_out else ""


def _not_missing(view: Members, said: Said[Student]) -> str:
    both = [view.manifest.silo_name(key) for key in said.body.missing if key in _taught(view, said)]
    return f"it names {', '.join(both)} as missing, who taught it" if both else ""


def _waits(view: Members, said: Said[Student]) -> str:
    """Under `strict` a silo is left out for what it did, and never because it is slow."""
    if view.manifest.policy.participation != "strict":
        return ""
    names = [
        view.manifest.silo_name(key)
        for key in said.body.missing
        if key in view.active() and not excused(view, said, key)
    ]
    return f"it does not wait for {', '.join(names)}, in a strict run" if names else ""


def _final(view: Members, said: Said[Student]) -> str:
    """The end of training is found from the teachers' records."""
    method, body = method_of(view.manifest), said.body
    ends = not method.interim_students or method.finishes(
        view.experts, body.round, among=frozenset(body.teachers)
    )
    if ends == body.final:
        return ""
    return (
        "it says that training ends, which goes on" if body.final else "it hides that it is final"
    )


def _resumed(view: Members, said: Said[Student]) -> str:
    """It went on from a checkpoint of this very student."""
    if said.body.resumed is None:
        return ""
    for begun in view.checkpointed.get(said.body.resumed, {}).values():
        lease = view.certified(begun.body.lease)
        led = lease is not None and lease.author == begun.author
        same = (begun.body.round, begun.body.teachers) == (said.body.round, said.body.teachers)
        if led and same:
            return ""
    return "it went on from a checkpoint that no leader published of it"


RULES: dict[str, Check] = {
    "6.8.1": _one_each,
    "6.8.2": _one_round,
    "6.8.3": _whole,
    "6.8.4": _not_missing,
    "6.8.5": _waits,
    "6.8.6": _final,
    "6.8.7": _resumed,
}
"""By clause of SPEC. The vectors of `readers.json` show each at work."""


def excused(view: Members, said: Said[Student], key: bytes) -> bool:
    """Whether a strict run's student may lack a silo: too many refused its expert, or the leader
    could not load it, or its own silo gave it up, or left the round out."""
    expert = view.experts.get(key, {}).get(said.body.round)
    if expert is None:
        newest = view.newest_experts.get(key)
        return newest is not None and newest.body.round > said.body.round
    verdicts = view.verdicts.get(expert.digest, {})
    own, leaders = verdicts.get(key), verdicts.get(said.author)
    return (
        view.condemned(expert.digest)
        or own is not None
        or (leaders is not None and leaders.body.cause != "score" and leaders.seq < said.seq)
    )


def _taught(view: Members, said: Said[Student]) -> set[bytes]:
    """Authors of its teachers of its own round."""
    experts = (view.expert_entries[entry] for entry in said.body.teachers)
    return {expert.author for expert in experts if expert.body.round == said.body.round}
