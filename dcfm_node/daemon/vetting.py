"""Vets snapshots: one is held, and loaded, only as what it is fit for (SPEC 5.1.3)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from dcfm_node.daemon.forms import NETWORK, Form, Forms
from dcfm_node.daemon.inbox import Present
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.swarm.effects import Event, Gone, Held, Unfit, Work
from dcfm_node.swarm.view import View

log = structlog.get_logger()

RETRY_S = 5.0
"""Between two tries to read a snapshot that the machine does not give."""


class Vetting:
    """Checks the snapshots of a run, and tells the swarm what it found.

    Args:
        put: hands the swarm an event.
    """

    def __init__(
        self, forms: Forms, troubles: Troubles, present: Present, put: Callable[[Event], None]
    ) -> None:
        self._forms, self._troubles, self._present, self._put = forms, troubles, present, put

    def doubtful(self, work: Work) -> Sequence[tuple[bytes, Form]]:
        """Snapshots that this work would load as something they were not checked for."""
        return self._forms.doubtful(work, self._view())

    async def check(self, digest: bytes) -> None:
        """Say that a snapshot is held if it is what some record that names it asks for, and which
        records it is not fit for. What the machine does not let us read is tried again until it
        does."""
        while (found := await self._judged(digest)) is None:
            if self._forms.snapshots.path(digest) is None:
                self._put(Gone(digest))  # somebody deleted it: it is fetched again
                return
            await asyncio.sleep(RETRY_S)
        if all(found.values()):
            why = next(iter(found.values()))
            log.warning("snapshot_refused", snapshot=digest.hex()[:8], why=why)
            self._forms.snapshots.remove(digest)
            self._put(Unfit(digest, why))
            return
        self._put(Held(digest))
        for form, why in found.items():
            self._refuse(digest, form, why)

    async def doubt(self, inputs: Iterable[tuple[bytes, Form]]) -> str:
        """Why work cannot load its inputs, after telling which records are to blame; empty if it
        can."""
        for digest, form in inputs:
            if why := await asyncio.to_thread(self._forms.flaw, digest, form):
                self._refuse(digest, form, why)
                return why
        return ""

    async def _judged(self, digest: bytes) -> dict[Form, str] | None:
        """By form that is asked of a snapshot, why it is not of it."""
        try:
            asked = self._forms.asked(self._view()).get(digest) or {None: NETWORK}
            forms = dict.fromkeys(asked.values())
            return {f: await asyncio.to_thread(self._forms.flaw, digest, f) for f in forms}
        except Exception as error:
            self._troubles.caught("checking a snapshot", error)
            return None

    def _refuse(self, digest: bytes, form: Form, why: str) -> None:
        """Every record that names a snapshot as what it is not."""
        asked = self._forms.asked(self._view()).get(digest, {}) if why else {}
        for entry in (entry for entry, wanted in asked.items() if entry and form.includes(wanted)):
            self._put(Unfit(digest, why, entry=entry))

    def _view(self) -> View:
        return self._present.node.replica.view
