"""The error tree. The class says who must act.

The operator sees a `UserError` as it is: what happened, where, what to do. A `PeerError` makes the
node refuse that peer's input; it never ends the swarm. Any other exception is a bug of ours and
keeps its traceback.
"""

import re
from collections.abc import Sequence


def writable(text: str) -> str:
    """The text as UTF-8 can write it: bytes of a file name that are not text become \\xNN."""
    return re.sub(
        "[\ud800-\udfff]", lambda half: ascii(half[0])[1:-1].replace(r"\udc", r"\x"), text
    )


class DcfmError(Exception):
    """Root of every error that this package raises on purpose."""


class UserError(DcfmError):
    """An error that the operator can fix. CLI exit code 2, unless the class sets another.

    Args:
        what: what happened.
        where: file, line, field or peer; empty if there is no place to name.
        fix: what the operator can do.
        more: further lines, such as the end of a log.
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
        """The lines to show. Text from others in them may contain line breaks."""
        place = f"{self.where}: " if self.where else ""
        fix = [f"  fix: {self.fix}"] if self.fix else []
        return [f"{place}{self.what}", *(f"  {line}" for line in self.more), *fix]

    def __str__(self) -> str:
        return "\n".join(self.lines)


class ConfigError(UserError):
    """A setting is wrong or missing."""


class DataError(UserError):
    """A silo's private data does not fit the run's manifest."""


class Unreachable(UserError):  # noqa: N818 - read where it is raised
    """No daemon answers on the control socket."""

    exit_code = 4


class Failed(UserError):  # noqa: N818 - read where it is raised
    """The command is valid but could not be carried out."""

    exit_code = 1


class DiskError(Failed):
    """The disk refused a write. The old data are complete, and the write can be tried again."""


class PeerError(DcfmError):
    """A peer's input breaks the protocol (SPEC 1.3). The text fits the reason of a verdict."""


class MissingPackageError(PeerError):
    """A manifest needs packages that are not installed here (SPEC 2.8.2)."""


class OtherProtocolError(PeerError):
    """A message has another version of the protocol (SPEC 4.2.1).

    Args:
        protocol: that version.
        software: version of the sender's software as the message states it; empty if it does not.
    """

    def __init__(self, protocol: int, software: str) -> None:
        super().__init__(f"speaks protocol {protocol}")
        self.protocol, self.software = protocol, software
