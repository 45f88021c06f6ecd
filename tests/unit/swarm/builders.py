"""Small journals for tests: authors that say records, honestly or not."""

from dcfm_node import __version__
from dcfm_node.records.entries import (
    PREPARATION,
    Accept,
    Audit,
    Body,
    Checkpoint,
    Endorse,
    Entry,
    Expert,
    Join,
    Lease,
    Preparation,
    Propose,
    Refuse,
    Snapshot,
    Student,
    Vote,
)
from dcfm_node.records.manifest import Manifest, Probes
from dcfm_node.records.messages import Heartbeat
from dcfm_node.simulation.host import made_up_snapshot
from dcfm_node.simulation.scenario import Scenario, manifest
from dcfm_node.simulation.signing import signers
from dcfm_node.swarm.journal import Journals
from dcfm_node.swarm.method import method_of
from dcfm_node.swarm.preparation import derive
from dcfm_node.swarm.view import View
from dcfm_node.wire.envelope import (
    Sealed,
    SealedHeartbeat,
    Signer,
    run_id,
    seal_entry,
    seal_heartbeat,
)


class Author:
    """A silo that says records; `journal` holds what it said last under each seq. It joins before
    it says anything else (SPEC 3.7.1)."""

    def __init__(self, signer: Signer, run: bytes, name: str) -> None:
        self.signer, self.run, self.key, self.name = signer, run, signer.key, name
        self.journal: list[Sealed] = []

    def anew(self, run: bytes | None = None) -> "Author":
        """The same silo before its first word, in this run or another."""
        return Author(self.signer, self.run if run is None else run, self.name)

    def join(self, *, epoch: int | None = None, at: int | None = None, **changes: object) -> Sealed:
        """Its `join`, with its own name and these fields changed."""
        return self.say(join(self.name).model_copy(update=changes), epoch=epoch, at=at)

    def say(self, body: Body, *, epoch: int | None = None, at: int | None = None) -> Sealed:
        """The next entry, or one at seq `at` in place of what was said there."""
        if not self.journal and at != 0 and not isinstance(body, Join):
            self.join()
        kept = self.journal[:at]
        last = kept[-1] if kept else None
        known = last.entry.epoch if last is not None else 0
        entry = Entry(
            run=self.run,
            author=self.key,
            epoch=known if epoch is None else epoch,
            seq=len(kept),
            prev=last.digest if last is not None else self.run,
            time_ms=0,
            body=body,
        )
        sealed = seal_entry(entry, self.signer)
        self.journal = [*kept, sealed]
        return sealed

    def heartbeat(
        self, counter: int, *, epoch: int = 0, done: int = 0, ready: bool = True
    ) -> SealedHeartbeat:
        """A sign of life."""
        heartbeat = Heartbeat(
            run=self.run,
            author=self.key,
            counter=counter,
            epoch=epoch,
            activity="local",
            round=0,
            done=done,
            total=100,
            ready=ready,
        )
        return seal_heartbeat(heartbeat, self.signer)


class Run:
    """A manifest, its authors, and a view of what they say."""

    def __init__(self, nodes: int = 3, *, prepares: bool = False, **settings: object) -> None:
        self.members = signers(nodes)
        made = manifest(Scenario(nodes=nodes, **settings), self.members)  # type: ignore[arg-type]
        ready = {} if prepares else {"probes": Probes(share=0.0), "standardise": "none"}
        self.begin(made.model_copy(update=ready))

    def begin(self, manifest: Manifest) -> None:
        """The run of a manifest with these members, in which nothing was said."""
        self.manifest, self.id = manifest, run_id(manifest)
        self.authors = [
            Author(signer, self.id, silo.name)
            for signer, silo in zip(self.members, manifest.roster, strict=True)
        ]
        self.keys = [author.key for author in self.authors]

    def view(self) -> View:
        """The fold of everything said so far."""
        said = (sealed for author in self.authors for sealed in author.journal)
        return View.of(self.manifest, said)

    def publish_experts(self, round_: int, but: tuple[int, ...] = ()) -> None:
        """Every silo's expert of a round, after its join, and its audit of the others', save
        those numbered in `but`."""
        for number, author in enumerate(self.authors):
            if number not in but:
                author.say(expert(round_, f"expert {number} {round_}"))
                author.say(Audit(round=round_, scores=()))

    def prepare(self, leader: int = 0, *, term: int = 1, but: tuple[int, ...] = ()) -> Preparation:
        """Every silo joins, save those numbered in `but`; a node is elected and proposes what
        follows from their joins, and the others accept it."""
        for number, author in enumerate(self.authors):
            if not author.journal and number not in but:
                author.join()
        self.elect(leader, term=term, round_=PREPARATION)
        agreed = derive(self.manifest, list(self.view().join_entries.values())).preparation
        for number, author in enumerate(self.authors):
            if number not in but:
                kind = Propose if number == leader else Accept
                author.say(kind(term=term, preparation=agreed))
        return agreed

    def elect(self, leader: int, *, term: int = 1, round_: int = 0) -> Sealed:
        """A majority votes for a node, which claims the lease."""
        key = self.keys[leader]
        votes = [a.say(vote(term, round_, key)) for a in self.authors[: self.manifest.quorum]]
        return self.authors[leader].say(lease(term, round_, votes))

    def endorse(self, made: Sealed) -> None:
        """A quorum finds a student good."""
        for author in self.authors[: self.manifest.quorum]:
            author.say(endorse(made))

    def distil(self, leader: int, *, term: int = 1, round_: int = 0) -> Sealed:
        """Elect a node and let it publish the student of a round, as the method has it, from all
        experts of it."""
        claimed = self.elect(leader, term=term, round_=round_)
        return self.authors[leader].say(self.student(claimed))

    def student(self, claimed: Sealed, **changes: object) -> Student:
        """What the leader of a lease says after an honest distillation, with these fields changed:
        teachers, missing and final as the records have them (SPEC 6.8)."""
        view, body = self.view(), claimed.entry.body
        assert isinstance(body, Lease)
        taught = {
            key: rounds[body.round]
            for key, rounds in view.experts.items()
            if body.round in rounds and key in view.active()
        }
        teachers = [said.digest for said in taught.values()]
        method = method_of(self.manifest)
        final = not method.interim_students or method.finishes(
            view.experts, body.round, among=frozenset(teachers)
        )
        made = student(body.term, body.round, claimed, teachers, final=final)
        missing = tuple(key for key in view.active() if key not in taught)
        return made.model_copy(update={"missing": missing, **changes})


def snapshot(name: str) -> Snapshot:
    return made_up_snapshot(name)


def join(name: str = "silo-0000") -> Join:
    return Join(name=name, distils=True, version=__version__, counts=(((0, 1), 3),))


def expert(round_: int, name: str = "expert", **metrics: float) -> Expert:
    return Expert(round=round_, snapshot=snapshot(name), parents=(), metrics=metrics)


def vote(term: int, round_: int, candidate: bytes) -> Vote:
    return Vote(term=term, round=round_, candidate=candidate)


def lease(term: int, round_: int, votes: list[Sealed]) -> Lease:
    return Lease(term=term, round=round_, votes=tuple(sorted(v.digest for v in votes)))


def student(
    term: int, round_: int, claimed: Sealed, teachers: list[bytes], *, final: bool = False
) -> Student:
    return Student(
        term=term,
        round=round_,
        lease=claimed.digest,
        snapshot=snapshot(f"student {term} {round_}"),
        teachers=tuple(teachers),
        missing=(),
        resumed=None,
        final=final,
        seed=0,
        version=__version__,
        metrics={},
    )


def checkpoint(
    term: int, round_: int, claimed: Sealed, teachers: list[bytes], *, step: int = 5
) -> Checkpoint:
    return Checkpoint(
        term=term,
        round=round_,
        lease=claimed.digest,
        snapshot=snapshot(f"checkpoint {term} {round_} {step}"),
        teachers=tuple(teachers),
        step=step,
    )


def endorse(of: Sealed) -> Endorse:
    return Endorse(student=of.digest, metrics={})


def refuse(of: Sealed) -> Refuse:
    return Refuse(student=of.digest, reason="velocity error", metrics={})


def journals(run: Run) -> Journals:
    found = Journals(run.manifest)
    for author in run.authors:
        for sealed in author.journal:
            found.offer(sealed)
    return found
