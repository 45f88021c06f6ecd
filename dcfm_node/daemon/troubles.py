"""What goes wrong in a running node: logged once, counted, and named by `status` while it lasts.

Whatever raises in an effect, a task or the handling of one message ends here and not the process.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from traceback import format_exception

import structlog

from dcfm_node.api.problems import THIS_NODE, Code, Problem
from dcfm_node.api.status import TroubleFacts
from dcfm_node.words import times

log = structlog.get_logger()

HELD_S = 120.0
"""A trouble is named for so long after it came last: what is tried again is tried more often."""
MAX_WHY, MAX_TRACEBACK = 200, 8_000


@dataclass
class Trouble:
    """One thing that fails in one way.

    Attributes:
        what: what failed, in words: "sending".
        code: an errno's name ("ENOSPC"), else the name of the exception.
        since, last: seconds of the daemon's clock.
    """

    what: str
    code: str
    why: str
    since: float
    last: float
    times: int = 1


class Troubles:
    """Every trouble of a node.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], Trouble] = {}
        """By what failed and the code: as many as the daemon has words, members and codes."""
        self._lasting: dict[str, Problem] = {}

    def caught(self, what: str, error: BaseException) -> str:
        """Keep what failed and how; the log has it once, until it is over. Never raises.

        Returns: why, in words.
        """
        code, why = code_of(error), _words(error)
        now, known = self._clock(), self._known.get((what, code))
        if known is not None and now - known.last <= HELD_S:
            known.last, known.times, known.why = now, known.times + 1, why
            return why
        self._known[what, code] = Trouble(what, code, why, now, now)
        try:
            said = "" if is_the_machines(error) else "".join(format_exception(error))
            log.error("failed", what=what, code=code, why=why, traceback=said[-MAX_TRACEBACK:])
        except Exception as unsaid:  # memory or a handle may lack for this as well: `status` has it
            self._known[what, code].why += f"; and it could not be logged: {code_of(unsaid)}"
        return why

    def lasts(self, problem: Problem) -> None:
        """Keep a problem that lasts until the node is started again."""
        self._lasting[problem.sentence] = problem

    def problems(self) -> list[Problem]:
        """What fails at present."""
        now = self._clock()
        return list(self._lasting.values()) + [
            Code.OPERATION_FAILED.problem(
                THIS_NODE,
                f"{t.what} failed {times(t.times)} in the last {now - t.since:.0f} s:"
                f" {t.code}: {t.why}",
                since_s=now - t.since,
            )
            for t in self._present()
        ]

    def facts(self) -> tuple[TroubleFacts, ...]:
        """The same for programs; ages in seconds."""
        now = self._clock()
        return tuple(
            TroubleFacts(
                what=t.what,
                code=t.code,
                why=t.why,
                times=t.times,
                since_s=round(now - t.since, 1),
                last_s=round(now - t.last, 1),
            )
            for t in self._present()
        )

    def _present(self) -> list[Trouble]:
        now = self._clock()
        return [t for t in self._known.values() if now - t.last <= HELD_S]


def is_the_machines(error: BaseException) -> bool:
    """Whether the machine lacks something, and not the program: no input is to blame for it."""
    return isinstance(error, MemoryError) or isinstance(getattr(error, "errno", None), int)


def code_of(error: BaseException) -> str:
    """One word for a machine."""
    number = getattr(error, "errno", None)  # of an OSError, or of ZeroMQ's, which is none
    named = errno.errorcode.get(number) if isinstance(number, int) else None
    return named or type(error).__name__


def _words(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or "no more is known")[:MAX_WHY]
