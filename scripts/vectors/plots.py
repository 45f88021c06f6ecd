"""Tables of entries by name of manifest, and what a view says of them."""

from typing import Any

from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records import entries as rec
from dcfm_node.records import manifest as man
from dcfm_node.records.settings import Training
from dcfm_node.wire.canonical import sha256
from vectors.common import MANIFEST, Json, case, make_manifest
from vectors.readers import FEDFLOW, KEYS, TOLERANT, Tale, join

STAGE = Training(steps=1_000)
PAPER = make_manifest(
    method=Dcfm(schedule="paper", local=STAGE, refine=STAGE, distil=STAGE),
    policy=man.Policy(participation="tolerant"),
)
FEW = {
    f"of {count}": make_manifest(
        roster=MANIFEST.roster[:count], policy=man.Policy(participation="tolerant")
    )
    for count in (1, 2, 3, 4)
}
MANIFESTS = {"strict": MANIFEST, "tolerant": TOLERANT, "fedflow": FEDFLOW, "paper": PAPER, **FEW}


class Plot(Tale):
    """A tale that knows the name of its manifest, and tells what a view of it says."""

    def __init__(self, name: str = "tolerant") -> None:
        super().__init__(MANIFESTS[name])
        self.name = name

    def told(self, name: str, clause: str, **facts: Any) -> Json:
        said = [sealed.envelope.hex() for sealed in self.entries]
        return case(f"{clause}: {name}", clause, manifest=self.name, entries=said, facts=facts)

    def votes(self, voters: str, candidate: int, term: int = 1, round_: int = 0) -> list[bytes]:
        body = rec.Vote(term=term, round=round_, candidate=KEYS[candidate])
        return [self.say(int(voter), body) for voter in voters]

    def lease(self, author: int, votes: list[bytes], term: int = 1, round_: int = 0) -> bytes:
        return self.say(author, rec.Lease(term=term, round=round_, votes=tuple(sorted(votes))))

    def endorse(self, student: bytes, *authors: int, **metrics: float) -> None:
        for author in authors:
            self.say(author, rec.Endorse(student=student, metrics=metrics))

    def refuse(self, student: bytes, *authors: int) -> None:
        for author in authors:
            self.say(author, rec.Refuse(student=student, reason="", metrics={}))

    def leave(self, author: int) -> None:
        self.say(author, rec.Withdraw(reason=""))

    def rare(self, holders: str) -> None:
        """Everybody joins; these silos alone hold one combination."""
        for author in range(5):
            label = (0, 0) if str(author) in holders else (1, 1)
            self.say(author, join(author, counts=((label, 7),)))

    def checkpoint(self, author: int, lease: bytes, teachers: list[bytes], step: int) -> bytes:
        snapshot = rec.Snapshot(digest=sha256(b"step", step.to_bytes(4, "big")), size=1_000)
        body = rec.Checkpoint(
            term=1, round=0, lease=lease, snapshot=snapshot, teachers=tuple(teachers), step=step
        )
        return self.say(author, body)
