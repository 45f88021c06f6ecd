"""Takes in snapshots that arrived whole: held only if they may be loaded (SPEC 5.1.3)."""

import asyncio
from collections.abc import Callable

import structlog

from dcfm_node.daemon.executor import RETRY_S
from dcfm_node.daemon.forms import Forms
from dcfm_node.daemon.troubles import Troubles
from dcfm_node.swarm.effects import Event, Gone, Held, Unfit
from dcfm_node.swarm.node import Node

log = structlog.get_logger()


class Intake:
    """Args:
    node: the present one.
    put: takes an event for the swarm.
    """

    def __init__(
        self,
        forms: Forms,
        troubles: Troubles,
        *,
        node: Callable[[], Node],
        put: Callable[[Event], None],
    ) -> None:
        self._forms, self._troubles, self._node, self._put = forms, troubles, node, put

    async def check(self, digest: bytes) -> None:
        """Say that a snapshot is held, or remove it and say why it is unfit. What the machine does
        not let us read is neither: it is tried again until it does."""
        while (flaw := await self._flaw(digest)) is None:
            if self._forms.snapshots.path(digest) is None:
                self._put(Gone(digest))  # somebody deleted it: it is fetched again
                return
            await asyncio.sleep(RETRY_S)
        if not flaw:
            self._put(Held(digest))
            return
        log.warning("snapshot_refused", snapshot=digest.hex()[:8], why=flaw)
        self._forms.snapshots.remove(digest)
        self._put(Unfit(digest, flaw))

    async def _flaw(self, digest: bytes) -> str | None:
        try:
            form = self._forms.of(self._node().exchange.view, digest)
            return await asyncio.to_thread(self._forms.flaw, digest, form)
        except Exception as error:
            self._troubles.caught("checking a snapshot", error)
            return None
