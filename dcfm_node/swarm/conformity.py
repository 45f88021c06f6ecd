"""Whether an elected leader made its student by the rules of the method (SPEC 6.4, 6.8).

Every reader checks a leader's duties from records alone: no one trusts `missing` or `final` because
their author leads. A student that breaks a rule does not count, as if its lease had none yet. A
record that it depends on, such as a withdrawal not known here, may still arrive.
"""

from collections.abc import Callable

from dcfm_node.records.entries import Student
from dcfm_node.swarm.members import Members
from dcfm_node.swarm.method import method_of
from dcfm_node.swarm.said import Said

Check = Callable[[Members, Said[Student]], str]
"""Why a student whose teachers are known breaks a rule, in words; empty if it breaks none."""


def flaw(view: Members, said: Said[Student]) -> str:
    """Why a student does not count, with the clause; empty if it counts."""
    for clause, check in RULES.items():
        if why := check(view, said):
            return f"{why} (SPEC {clause})"
    return ""


def _one_each(view: Members, said: Said[Student]) -> str:
    """No silo teaches twice, and no teacher is of a later round."""
    experts = [view.expert_entries[entry] for entry in said.body.teachers]
    if len({expert.author for expert in experts}) < len(experts):
        return "one silo teaches it twice"
    later = any(expert.body.round > said.body.round for expert in experts)
    return "an expert of a later round teaches it" if later else ""


def _one_round(view: Members, said: Said[Student]) -> str:
    """If the method combines experts of one round, all teachers are of one round."""
    if not view.manifest.method.one_round:
        return ""
    rounds = {view.expert_entries[entry].body.round for entry in said.body.teachers}
    return "" if len(rounds) == 1 else "it averages experts of several rounds"


def _whole(view: Members, said: Said[Student]) -> str:
    """Every active silo taught with an expert of this round, or is named as missing."""
    taught = _taught(view, said)
    left_out = [
        silo.name
        for silo in view.manifest.roster
        if silo.key not in taught
        and silo.key not in said.body.missing
        and silo.key in view.active()
    ]
    return (
        f"it leaves out {', '.join(left_out)} and does not name them as missing" if left_out else ""
    )


def _not_missing(view: Members, said: Said[Student]) -> str:
    both = [view.manifest.silo_name(key) for key in said.body.missing if key in _taught(view, said)]
    return f"it names {', '.join(both)} as missing, but they taught it" if both else ""


def _waits(view: Members, said: Said[Student]) -> str:
    """Under `strict`, a silo is left out only for what it did, never for being slow."""
    if view.manifest.policy.participation != "strict":
        return ""
    names = [
        view.manifest.silo_name(key)
        for key in said.body.missing
        if key in view.active() and not excused(view, said, key)
    ]
    return f"it does not wait for {', '.join(names)}; a strict run must" if names else ""


def _final(view: Members, said: Said[Student]) -> str:
    """`final` agrees with the end of training that the teachers' records show."""
    method, body = method_of(view.manifest), said.body
    ends = not method.interim_students or method.finishes(
        view.experts, body.round, among=frozenset(body.teachers)
    )
    if ends == body.final:
        return ""
    return (
        "it is marked final, but training goes on"
        if body.final
        else "it is the last student, but is not marked final"
    )


def _resumed(view: Members, said: Said[Student]) -> str:
    """The checkpoint from which it resumed belongs to this very student."""
    if said.body.resumed is None:
        return ""
    for begun in view.checkpointed.get(said.body.resumed, {}).values():
        lease = view.certified(begun.body.lease)
        led = lease is not None and lease.author == begun.author
        same = (begun.body.round, begun.body.teachers) == (said.body.round, said.body.teachers)
        if led and same:
            return ""
    return "it resumed from a checkpoint that no leader published for it"


RULES: dict[str, Check] = {
    "6.8.1": _one_each,
    "6.8.2": _one_round,
    "6.8.3": _whole,
    "6.8.4": _not_missing,
    "6.8.5": _waits,
    "6.8.6": _final,
    "6.8.7": _resumed,
}
"""The checks by clause of SPEC. The vectors of `readers.json` show each at work."""


def excused(view: Members, said: Said[Student], key: bytes) -> bool:
    """Whether a strict run's student may lack a silo: too many refused its expert, the leader could
    not load it, its own silo gave it up, or the silo left the round out."""
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
    """Authors of its teachers of the student's own round."""
    experts = (view.expert_entries[entry] for entry in said.body.teachers)
    return {expert.author for expert in experts if expert.body.round == said.body.round}
