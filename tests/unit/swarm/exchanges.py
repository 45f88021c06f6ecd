"""An exchange among five, and what is said in it."""

from dcfm_node.records.messages import Entries, Sync
from dcfm_node.swarm.effects import Send
from dcfm_node.swarm.exchange import Exchange
from dcfm_node.swarm.liveness import Liveness
from dcfm_node.wire.envelope import Sealed
from tests.unit.swarm.builders import Run

RUN = Run(5)
ME, PEER = RUN.keys[0], RUN.keys[1]


def exchange(run: Run = RUN) -> Exchange:
    made = Exchange.create(run.manifest, run.keys[0], Liveness(12.0, 60.0, 3_600.0))
    for peer in made.peers.values():
        peer.linked = True
    return made


def entries(*said: Sealed, heartbeats: tuple[bytes, ...] = ()) -> Entries:
    return Entries(run=RUN.id, entries=tuple(s.envelope for s in said), beats=heartbeats)


def sync(**changes: object) -> Sync:
    fields = {"run": RUN.id, "version": "1", "heads": {}, "beats": {}, "reply": False}
    return Sync.model_validate({**fields, **changes})


def sent(effects) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, Send)]
