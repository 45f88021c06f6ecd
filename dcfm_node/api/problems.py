"""Everything that `status` can find wrong: one table of codes, and the problems that bear them.

A problem makes a node degraded. Its code is for programs (alerts, metrics, scripts) and stays the
same between versions; its sentence and its fix are for people. `docs/problems.md` is made of this.
"""

from collections.abc import Iterable
from enum import Enum
from typing import Literal, Self

from dcfm_node.api.document import Model
from dcfm_node.errors import writable

DEGRADED = 3
"""Exit code of `status` when there is a problem."""

Severity = Literal["warning", "error", "critical"]
"""warning: the run goes on, look at it. error: a silo, a link or a student does not take part until
somebody acts. critical: the run, or this node in it, cannot go on."""

THIS_NODE, THIS_RUN = "this node", "the run"
"""Subjects of problems that no single silo has."""

_LOOK = "see the node's log"
_ASK = "ask the site, and see its 'dcfm-node status'"


class Code(Enum):
    """What can be wrong: code, severity, and what to do unless the problem says better."""

    PEER_SILENT = "peer-silent", "warning", _ASK
    PEER_STALLED = "peer-stalled", "warning", _ASK
    PEER_MISMATCH = "peer-mismatch", "error", "give all sites the same run.toml and version"
    PEER_FORKED = "peer-forked", "error", "show others: 'dcfm-node proof write --silo {subject}'"
    PEER_QUARANTINED = "peer-quarantined", "error", "continue the run without that silo"
    PEER_ACCUSED = "peer-accused", "warning", _ASK
    BUNDLE_OVERDUE = "bundle-overdue", "warning", "import a new bundle of that site"
    EXPERT_REFUSED = "expert-refused", "error", "look at that silo's data; it trains another one"
    LINK_DOWN = "link-down", "error", "open the port in the firewall of one of the two sites"
    LINK_FAULT = "link-fault", "warning", "restart the node to clear this; please report it"
    KEY_SHARED = "key-shared", "error", "stop one of them, or give it keys of its own"
    DESCRIPTORS_EXHAUSTED = (
        "descriptors-exhausted",
        "warning",
        "raise the limit of open files (ulimit -n, LimitNOFILE)",
    )
    KEY_TAKEN = "key-taken", "critical", "stop the other node, and rotate this node's keys"
    JOURNAL_FULL = "journal-full", "critical", "continue the run ('dcfm-node run continue')"
    RECORD_REFUSED = "record-refused", "error", "correct this node's settings, and restart it"
    QUORUM_LOST = "quorum-lost", "critical", "continue the run with another roster"
    STUDENT_INVALID = "student-invalid", "warning", "wait: another silo distils it again"
    STUDENT_REJECTED = "student-rejected", "error", _ASK
    STUDENT_INCOMPLETE = "student-incomplete", "warning", "see the silos that are missing"
    STUDENT_MISSING = "student-missing", "critical", "begin another run, with another seed or data"
    VALUE_UNSEEN = "value-unseen", "warning", "see the labels, or change run.toml"
    DISK_FULL = "disk-full", "error", "make room on the disk; this node then goes on by itself"
    OPERATION_FAILED = "operation-failed", "warning", _LOOK
    EVENT_DROPPED = "event-dropped", "error", "see the log, upgrade this node, and please report it"
    WORKER_DOWN = "worker-down", "error", "see state/worker.log; the worker starts again by itself"
    WORK_FAILED = "work-failed", "error", "see state/worker.log and the node's log"
    CHECKPOINTS_STOPPED = "checkpoints-stopped", "warning", "make room on the disk"
    DATA_SCALE = "data-scale", "warning", "scale the samples to about unit variance"
    DATA_ALIKE = "data-alike", "warning", "give this silo different samples"
    DATA_LABELS = "data-labels", "warning", "compare the labels with the attributes of run.toml"
    DATA_CHANGED = "data-changed", "warning", "put the data back, or agree on a new run"

    severity: Severity
    fix: str

    def __new__(cls, code: str, severity: Severity, fix: str) -> Self:
        made = object.__new__(cls)
        made._value_, made.severity, made.fix = code, severity, fix
        return made

    @property
    def exit_code(self) -> int:
        """What `status` exits with while there is such a problem."""
        return DEGRADED

    def problem(
        self, subject: str, sentence: str, *, fix: str = "", since_s: float | None = None
    ) -> "Problem":
        """A problem of this code.

        Args:
            subject: the silo that it concerns, THIS_NODE or THIS_RUN.
            sentence: what is wrong, without what to do.
            fix: what to do, in place of the code's own.
            since_s: for how many seconds it has been so, where that is known.
        """
        return Problem(
            code=self,
            severity=self.severity,
            subject=subject,
            sentence=writable(sentence),
            fix=writable(fix or self.fix.format(subject=subject)),
            since_s=None if since_s is None else round(since_s, 1),
        )


class Problem(Model):
    """One thing that is wrong now."""

    code: Code
    severity: Severity
    subject: str
    """A silo's name, "this node" or "the run"."""
    sentence: str
    """What is wrong, for people."""
    fix: str
    """What to do."""
    since_s: float | None
    """For how many seconds it has been so; null where that is not known."""

    def __str__(self) -> str:
        return f"{self.sentence}; {self.fix}"


def exit_code(problems: Iterable[Problem]) -> int:
    """What `status` exits with: 0 if nothing is wrong."""
    return max((problem.code.exit_code for problem in problems), default=0)
