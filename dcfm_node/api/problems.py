"""Everything that `status` can report as wrong: the table of codes, and problems with a code.

A problem makes a node degraded. Its code is for programs (alerts, metrics, scripts) and stays the
same between versions. Its sentence and fix are for people. `docs/problems.md` is made from this and
from `api/runbook.py`. Which problems are shown, and since when: `daemon/registry.py`.
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
"""Subjects of problems that do not concern a single silo."""

_LOOK = "see the node's log"
_ASK = "ask the site, and see its 'dcfm-node status'"


class Code(Enum):
    """What can be wrong: code, severity, the default fix, the codes of its possible causes, and for
    how many seconds it must last before it is shown.

    A problem whose cause is a problem of the same silo, or of this node or the run, follows from
    it. It is then not shown by itself.
    """

    NODE_ALONE = (
        "node-alone",
        "error",
        "check this machine's network, firewall and DNS; 'dcfm-node peers' says what each dial met",
        ("disk-full",),
        30,
    )
    """This node hears no other silo."""
    PEER_SILENT = (
        "peer-silent",
        "warning",
        "ask the site whether its machine and node run ('dcfm-node status' there)",
        ("disk-full", "node-alone", "peer-mismatch"),
        30,
    )
    """A silo gave no sign of life for too long, directly or through others."""
    PEER_DISK_FULL = (
        "peer-disk-full",
        "error",
        "ask the site to make room on its disk; its node then continues by itself",
    )
    """A silo says that its disk refuses writes. It takes in and publishes nothing."""
    PEER_STUCK = (
        "peer-stuck",
        "warning",
        "ask the site to look at its 'dcfm-node status --explain': ports, disk, firewall",
        ("peer-disk-full", "link-down"),
        120,
    )
    """A silo has been fetching a snapshot for minutes, and receives nothing."""
    PEER_STALLED = (
        "peer-stalled",
        "warning",
        _ASK,
        ("peer-disk-full", "peer-stuck", "peer-silent", "peer-mismatch"),
    )
    """A silo gives signs of life, but shows no progress with work that the run waits for."""
    PEER_MISMATCH = (
        "peer-mismatch",
        "error",
        "give all sites the same run.toml and version, and restart the node that differed",
    )
    """A silo takes part in another run, or breaks the protocol."""
    PEER_FORKED = "peer-forked", "error", "show others: 'dcfm-node proof write --silo {subject}'"
    """A silo signed two records under one number."""
    PEER_QUARANTINED = (
        "peer-quarantined",
        "error",
        "continue the run without that silo",
        ("peer-forked",),
    )
    """A silo did what only a hostile or broken node does; its work no longer counts."""
    PEER_ACCUSED = (
        "peer-accused",
        "warning",
        _ASK,
        ("peer-quarantined", "expert-refused"),
    )
    """Members published a verdict on a silo (SPEC 6.7)."""
    BUNDLE_OVERDUE = "bundle-overdue", "warning", "import a new bundle of that site"
    """A silo takes part by bundle, and no bundle has mentioned it for a week."""
    EXPERT_REFUSED = (
        "expert-refused",
        "error",
        "look at that silo's data; it trains another one",
        ("data-units", "peer-quarantined"),
    )
    """A quorum refused a silo's newest expert."""
    LINK_DOWN = (
        "link-down",
        "error",
        "open the port in the firewall of one of the two sites",
        ("peer-silent", "node-alone", "key-shared"),
        30,
    )
    """A silo gives signs of life, and its link is down on one plane (control or bulk) or both."""
    LINK_FAULT = "link-fault", "warning", "restart the node to clear this; please report it"
    """This node's software failed at a message or a dial."""
    KEY_SHARED = "key-shared", "error", "stop one of them, or give it keys of its own"
    """Two nodes use one silo's keys at the same time."""
    DESCRIPTORS_EXHAUSTED = (
        "descriptors-exhausted",
        "warning",
        "raise the limit of open files (ulimit -n, LimitNOFILE)",
    )
    """Connections of strangers took the last file descriptor."""
    KEY_TAKEN = "key-taken", "critical", "stop the other node, and rotate this node's keys"
    """Another node writes records with this node's key."""
    METHOD_FAILED = "method-failed", "critical", "ask the author of the method's package"
    """The package that provides the run's method fails to decide; this node does nothing."""
    JOURNAL_FULL = "journal-full", "critical", "continue the run ('dcfm-node run continue')"
    """This node's journal has as many records as a run allows."""
    RECORD_REFUSED = "record-refused", "error", "correct this node's settings, and restart it"
    """This node made a record that does not fit the run."""
    QUORUM_LOST = "quorum-lost", "critical", "continue the run with another roster"
    """Too many silos withdrew for a leader to be elected."""
    ELECTIONS_STOPPED = (
        "elections-stopped",
        "critical",
        "bring one of the silent silos back, or continue the run without them",
        ("quorum-lost", "node-alone", "peer-silent", "peer-mismatch"),
        30,
    )
    """So many silos are silent that no leader can be elected until one of them is back."""
    STUDENT_INVALID = "student-invalid", "warning", "wait: another silo distils it again"
    """An elected leader published a student that breaks a rule of the run."""
    STUDENT_REJECTED = "student-rejected", "error", _ASK
    """Too many silos refused a student."""
    STUDENT_INCOMPLETE = (
        "student-incomplete",
        "warning",
        "see the silos that are missing",
        (
            "node-alone",
            "peer-silent",
            "peer-mismatch",
            "peer-quarantined",
            "peer-disk-full",
            "peer-stuck",
            "peer-stalled",
            "expert-refused",
        ),
    )
    """A student was made without the experts of some silos."""
    BELOW_FLOOR = "below-floor", "critical", "begin another run, with other settings or more data"
    """The draws of a final student are expected to be right less often than the run asks."""
    QUALITY_UNMEASURED = (
        "quality-unmeasured",
        "warning",
        "ask 'dcfm-node student judge' at each site, and look at draws before you use it",
    )
    """Nobody can say how often the draws of the released student are right."""
    STUDENT_MISSING = (
        "student-missing",
        "critical",
        "begin another run, with another seed or data",
        ("below-floor", "student-rejected", "quorum-lost"),
    )
    """The run ended, and no student is released."""
    VALUE_UNSEEN = "value-unseen", "warning", "see the labels, or change run.toml"
    """No silo holds a value of an attribute (Eq. 2 of DCFM)."""
    COVERAGE_GAP = (
        "coverage-gap",
        "warning",
        "add samples of other combinations at some site",
        ("value-unseen",),
    )
    """Nothing that silos hold says how some values go together: they cannot be composed (Eq. 2)."""
    DISK_FULL = "disk-full", "error", "make room on the disk; this node then continues by itself"
    """The disk refuses a write: it is full, over quota, read-only or damaged."""
    DISK_LOW = (
        "disk-low",
        "warning",
        "make room on the disk before it is full",
        ("disk-full",),
    )
    """Little room is left on the disk of the state folder."""
    FETCH_STUCK = (
        "fetch-stuck",
        "warning",
        "see 'dcfm-node status --explain': the bulk links, and this node's disk",
        ("disk-full", "node-alone"),
        120,
    )
    """This node has been fetching a snapshot for minutes, and receives nothing."""
    OPERATION_FAILED = "operation-failed", "warning", _LOOK, ("disk-full",)
    """An operation of this node failed in the last two minutes."""
    EVENT_DROPPED = "event-dropped", "error", "see the log, upgrade this node, and please report it"
    """This node fails on what a silo wrote, and takes in nothing more of it."""
    WORKER_DOWN = (
        "worker-down",
        "error",
        "see state/worker.log; the worker starts again by itself",
        ("disk-full",),
    )
    """The training process ended by itself."""
    WORK_FAILED = (
        "work-failed",
        "error",
        "see the node's log, and state/worker.log where there is one",
        ("worker-down", "disk-full", "expert-withheld"),
    )
    """Training, distilling, scoring or auditing failed."""
    EXPERT_WITHHELD = (
        "expert-withheld",
        "error",
        "add samples, or agree on a smaller network or fewer steps (a new run)",
    )
    """The privacy gate of this site keeps its expert back: the run goes on without it."""
    PAGE_DOWN = "page-down", "warning", "see the node's log; it is started again by itself"
    """The page's process ended by itself, or cannot start. The run does not need it."""
    CHECKPOINTS_STOPPED = (
        "checkpoints-stopped",
        "warning",
        "make room on the disk",
        ("disk-full",),
    )
    """Training continues, but its checkpoints cannot be written."""
    DATA_SCALE = "data-scale", "warning", "scale the samples to about unit variance"
    """The samples are far from unit variance or zero mean, and the run does not standardise."""
    DATA_FEATURES = "data-features", "warning", "check these features in the silo's file"
    """A feature is constant, hardly varies beside others, or has samples far from all others."""
    DATA_UNITS = "data-units", "warning", "compare the units of that feature at the sites"
    """A silo's data of one feature are far from those of the other silos (SPEC 6.13.6)."""
    DATA_ALIKE = "data-alike", "warning", "give this silo different samples"
    """All samples are the same."""
    DATA_LABELS = "data-labels", "warning", "compare the labels with the attributes of run.toml"
    """Labels that are read as positions from 0 look as if they count from 1."""
    DATA_CHANGED = "data-changed", "warning", "put the data back, or agree on a new run"
    """The private data differs from the data that this silo joined the run with."""

    severity: Severity
    fix: str
    after: tuple[str, ...]
    """Codes of the problems that it may follow from."""
    lasts_s: float
    """It is shown once it has lasted for so many seconds."""

    def __new__(
        cls,
        code: str,
        severity: Severity,
        fix: str,
        after: tuple[str, ...] = (),
        lasts_s: float = 0,
    ) -> Self:
        made = object.__new__(cls)
        made._value_, made.severity, made.fix = code, severity, fix
        made.after, made.lasts_s = after, lasts_s
        return made

    @classmethod
    def of(cls, value: str) -> Self:
        """The code with this value. (mypy takes `Code(value)` for a call of `__new__`.)"""
        return next(code for code in cls if code.value == value)

    @property
    def exit_code(self) -> int:
        """The exit code of `status` while there is such a problem."""
        return DEGRADED

    def problem(
        self, subject: str, sentence: str, *, fix: str = "", since_s: float | None = None
    ) -> "Problem":
        """A problem of this code.

        Args:
            subject: the silo that it concerns, THIS_NODE or THIS_RUN.
            sentence: what is wrong, without the fix.
            fix: what to do; empty for the code's default.
            since_s: for how many seconds the problem has lasted; None if unknown.
        """
        return Problem(
            code=self,
            severity=self.severity,
            subject=subject,
            sentence=writable(sentence),
            fix=writable(fix or self.fix.format(subject=subject)),
            since_s=None if since_s is None else round(since_s, 1),
        )


class FollowsFrom(Model):
    """The problem that is the cause of another one."""

    code: Code
    subject: str


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
    """For how many seconds the problem has lasted; null if unknown."""
    follows: FollowsFrom | None = None
    """The problem that this one follows from; null if it has no known cause."""

    def __str__(self) -> str:
        return f"{self.sentence}; {self.fix}"


def exit_code(problems: Iterable[Problem]) -> int:
    """The exit code of `status`: 0 if there is no problem."""
    return max((problem.code.exit_code for problem in problems), default=0)
