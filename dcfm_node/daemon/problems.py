"""What is wrong with a node's own journal and with students, in words. Pure."""

from dcfm_node.daemon.facts import student_facts
from dcfm_node.swarm.node import Node
from dcfm_node.swarm.view import View


def of_own_journal(node: Node) -> list[str]:
    """Why this node says nothing more, or soon will not."""
    found = []
    if node.writer.full:
        found.append(
            "this node's journal is full: it says nothing more in this run, save that it withdraws;"
            " continue the run ('dcfm-node run continue')"
        )
    if node.writer.unfit:
        found.append(f"what this node would say does not fit the run: {node.writer.unfit}")
    recovery = node.exchange.recovery
    if node.exchange.usurped:
        found.append("another node signs with this node's key: this node writes no more")
    elif recovery.writable and recovery.shown[1] > recovery.epoch:
        found.append(
            "another node began with this node's keys after it did: stop one of them, or give it"
            " keys of its own"
        )
    return found


def unfounded(view: View) -> list[str]:
    """Students by elected leaders that break a rule, or seem to as far as is known here, in whose
    place there is none yet."""
    return [
        f"the student of round {student.body.round} by {view.manifest.silo_name(student.author)}"
        f" does not count: {why}"
        for student, why in view.unfounded()
        if view.student(student.body.round) is None
    ]


def rejected(view: View) -> list[str]:
    """Whose students so many refused that they were distilled again, or not released; until a later
    one is better."""
    good = [s for s in view.counting_students() if view.endorsed_by_quorum(s)]
    newest = max((s.body.round for s in good), default=-1)
    rejected = (said for said in view.valid_students() if view.rejected(said))
    students = [student_facts(view, said) for said in rejected if said.body.round > newest]
    return [
        f"the student of round {student['round']} that {student['leader']} distilled was refused"
        f" by {', '.join(student['refused_by'])}; {next(iter(student['refused_by']))} says:"
        f" {next(iter(student['refused_by'].values()))}"
        for student in students
    ]


def lacking(view: View) -> list[str]:
    """Whom the released student, and the newest, was made without."""
    latest, newest = view.latest(), view.newest_student()
    named = {"the released student": latest, "the newest student": newest}
    if newest == latest:
        del named["the newest student"]
    return [
        f"{which} lacks: {', '.join(map(view.manifest.silo_name, said.body.missing))}"
        for which, said in named.items()
        if said is not None and said.body.missing
    ]
