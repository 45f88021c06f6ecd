"""The error tree: whose fault it was decides who must act.

`UserError` is shown to the operator as it stands: what happened, where, what to do.
`PeerError` never leaves the swarm as an exception of ours: it turns into a refusal of that peer's
input. Anything else is a defect of ours and keeps its traceback.
"""

import re
from collections.abc import Sequence


def writable(text: str) -> str:
    """Text that UTF-8 can write: bytes of a file's name that are no text become \\xNN."""
    return re.sub(
        "[\ud800-\udfff]", lambda half: ascii(half[0])[1:-1].replace(r"\udc", r"\x"), text
    )


class DcfmError(Exception):
    """Root of every error this package raises on purpose."""


class UserError(DcfmError):
    """The operator can fix it. CLI exit code 2 unless the class says otherwise.

    Args:
        what: what happened.
        where: file, line, field, or peer; empty when there is no place to name.
        fix: what to do about it.
        more: lines that belong to it, such as the end of a log.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, where: str = "", fix: str = "", more: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.fix = writable(what), writable(where), writable(fix)
        self.more = tuple(map(writable, more))

    @property
    def lines(self) -> list[str]:
        """What is shown, a line each: words of others in it may bear line breaks of their own."""
        place = f"{self.where}: " if self.where else ""
        fix = [f"  fix: {self.fix}"] if self.fix else []
        return [f"{place}{self.what}", *(f"  {line}" for line in self.more), *fix]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class ConfigError(UserError):
    """A settings file says something we cannot follow."""


class DataError(UserError):
    """A silo's private data does not fit the run's manifest."""


class Unreachable(UserError):  # noqa: N818 - read where it is raised
    """No daemon answers on the control socket."""

    exit_code = 4


class Failed(UserError):  # noqa: N818 - read where it is raised
    """The command was understood and could not be carried out."""

    exit_code = 1


class DiskError(Failed):
    """The disk took nothing of a write. What was there is whole, and it can be tried again."""


class PeerError(DcfmError):
    """Input of a peer that breaks the protocol (SPEC 1.3). Carries a reason fit for a verdict."""


class OtherProtocolError(PeerError):
    """A message of another version of the protocol (SPEC 4.2.1).

    Args:
        protocol: the version it is of.
        software: what it says of its sender's software; empty if nothing.
    """

    def __init__(self, protocol: int, software: str) -> None:
        super().__init__(f"speaks protocol {protocol}")
        self.protocol, self.software = protocol, software
