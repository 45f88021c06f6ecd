"""Lineages, proofs of forks, and runs that continue others (SPEC 2.7 and 9)."""

from typing import Any

from dcfm_node.networks.settings import MlpSettings
from dcfm_node.records import entries as rec
from dcfm_node.records import manifest as man
from dcfm_node.swarm import lineage, proof
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack, sha256
from vectors.common import (
    MANIFEST,
    NAMES,
    RUN,
    SIGNERS,
    SNAPSHOT,
    STRANGER,
    Json,
    case,
    entry,
    make_manifest,
    shared,
)
from vectors.readers import DIGESTS, KEYS, Tale
from vectors.swarm import Story, joining


def elected() -> tuple[Story, bytes]:
    """Every silo's expert, an election and the student made of them."""
    story = Story()
    teachers = story.experts()
    lease = story.lease(1, story.vote("012", 1))
    return story, story.student(1, lease, teachers)


def bundle(said: list[env.Sealed], **changes: Any) -> str:
    envelopes = [sealed.envelope for sealed in said]
    manifest = env.manifest_bytes(MANIFEST)
    whole = {"format": lineage.FORMAT, "manifest": manifest, "entries": envelopes}
    return pack(whole | changes).hex()


def lineages() -> Json:
    story, student = elected()
    said, model = story.entries, SNAPSHOT.digest.hex()
    ballots = [sealed for sealed in said if sealed.entry.body.kind == "vote"]
    no_quorum = [sealed for sealed in said if sealed is not ballots[0]]
    forged = said[-1].envelope[:-1] + bytes([said[-1].envelope[-1] ^ 1])
    other = env.manifest_bytes(make_manifest(name="other"))
    fields = MANIFEST.model_dump()
    del fields["policy"]
    rejected = [
        ("another model", bundle(said), sha256(b"another").hex()),
        ("without a voter", bundle(no_quorum), model),
        ("an entry left out", bundle(said[1:]), model),
        ("an entry twice", bundle([*said, said[0]]), model),
        ("a forged entry", bundle(said, entries=[s.envelope for s in said[:-1]] + [forged]), model),
        ("another run's manifest", bundle(said, manifest=other), model),
        ("a manifest not written out", bundle(said, manifest=pack(fields)), model),
        ("another format", bundle(said, format="dcfm-node/lineage/0"), model),
    ]
    accepted = [
        ("a student", bundle(said)),
        ("a field that is passed over", bundle(said, later=0)),
        ("no earlier lineage", bundle(said, continues=None)),
    ]
    earlier = bytes.fromhex(bundle(said))
    rejected += [
        ("an earlier lineage where its run continues none", bundle(said, continues=earlier), model),
        ("entries that are no array", bundle(said, entries={}), model),
        ("no manifest", bundle(said, manifest=None), model),
    ]
    verified = [case(n, "9.2", hex=h, model=model, student=student.hex()) for n, h in accepted]
    refused = [case(name, "9.2", hex=text, model=digest) for name, text, digest in rejected]
    for name, text, made, holds in continued():
        told = case(name, "9.4", hex=text, model=MODEL.hex())
        (verified if holds else refused).append(told | ({"student": made} if holds else {}))
    return {
        "accepted": verified,
        "rejected": refused,
        "proofs": proofs(),
        "successions": shared(successions()),
    }


# A run that continues another

MODEL = DIGESTS[2]
"""Of every student of a tale."""
OLD_STUDENT = rec.Snapshot(digest=MODEL, size=1_000)


def chapter(manifest: man.Manifest, earlier: object = None, **changes: Any) -> tuple[str, str]:
    """The lineage of a run with a student, and that student's entry."""
    tale = Tale(manifest)
    made = tale.student(0, tale.experts(0))
    envelopes = [sealed.envelope for sealed in tale.entries]
    fields = {"format": lineage.FORMAT, "manifest": env.manifest_bytes(manifest)}
    whole = fields | {"entries": envelopes} | ({} if earlier is None else {"continues": earlier})
    return pack(whole | changes).hex(), made.hex()


def continued() -> list[tuple[str, str, str, bool]]:
    """(name, lineage, student, whether it holds) of runs that continue another."""

    def of(student: rec.Snapshot | None, run: bytes = RUN, **changes: Any) -> man.Manifest:
        continues = man.Continues(run=run, student=student)
        return make_manifest(name="next", continues=continues, **changes)

    before = bytes.fromhex(chapter(MANIFEST)[0])
    other = bytes.fromhex(chapter(make_manifest(name="other"))[0])
    forged = before[:-1] + bytes([before[-1] ^ 1])
    wide = MlpSettings(width=64)
    plans: list[tuple[str, man.Manifest, object, bool]] = [
        ("continued, without the earlier lineage", of(OLD_STUDENT), None, True),
        ("continued, with it", of(OLD_STUDENT), before, True),
        ("continued, from no student", of(None), before, True),
        ("continued, from a student that is not in it", of(SNAPSHOT), before, False),
        ("continued, with another run's", of(OLD_STUDENT), other, False),
        ("continued, with one that does not hold", of(OLD_STUDENT), forged, False),
        ("continued, with an integer", of(OLD_STUDENT), 0, False),
        ("continued, with text", of(OLD_STUDENT), "text", False),
        ("continued, with an array", of(OLD_STUDENT), [before], False),
        ("continued, with another network", of(OLD_STUDENT, network=wide), before, False),
    ]
    return [(name, *chapter(made, earlier), holds) for name, made, earlier, holds in plans]


def successions() -> list[Json]:
    """Which manifests may continue a run (SPEC 2.7.1): `changed` names whose keys changed."""
    tale = Tale(MANIFEST)
    tale.student(0, tale.experts(0))
    left = Tale(MANIFEST)
    left.student(0, left.experts(0))
    left.say(4, rec.Withdraw(reason=""))
    new = STRANGER.key
    moved = (man.Silo(name=NAMES[0], key=new), *MANIFEST.roster[1:])
    fewer = (*MANIFEST.roster[:2], man.Silo(name="zeno", key=new))

    def hand_over(signer: env.Signer, key: bytes = new) -> man.Handover:
        link_key = sha256(b"link key")
        signature = env.hand_over(signer, key, link_key)
        return man.Handover(name=NAMES[0], link_key=link_key, signature=signature)

    good, bad = hand_over(SIGNERS[0]), hand_over(SIGNERS[1])
    shorter = (MANIFEST.attributes[0], man.Attribute(name="vertical", values=("bottom", "up")))
    plans: list[tuple[str, Json, Json, Json | None]] = [
        ("the same roster", {}, {}, {}),
        ("other settings", {"policy": man.Policy(participation="tolerant")}, {}, {}),
        ("some stay and one is new", {"roster": fewer}, {}, {}),
        ("a key handed over", {"roster": moved}, {"handovers": (good,)}, {NAMES[0]: "handed over"}),
        ("a key replaced", {"roster": moved}, {"replaced": (NAMES[0],)}, {NAMES[0]: "replaced"}),
        ("a key that nobody vouches for", {"roster": moved}, {}, None),
        ("another one replaced", {"roster": moved}, {"replaced": (NAMES[1],)}, None),
        ("a key handed over by another", {"roster": moved}, {"handovers": (bad,)}, None),
        (
            "another key handed over",
            {"roster": moved},
            {"handovers": (hand_over(SIGNERS[0], KEYS[1]),)},
            None,
        ),
        (
            "handed over twice, the last holds",
            {"roster": moved},
            {"handovers": (bad, good)},
            {NAMES[0]: "handed over"},
        ),
        ("handed over twice, the first holds", {"roster": moved}, {"handovers": (good, bad)}, None),
        ("another shape", {"sample_shape": (3,)}, {}, None),
        ("another attribute", {"attributes": shorter}, {}, None),
        ("another network", {"network": MlpSettings(width=64)}, {}, None),
        ("another precision", {"transfer": man.Transfer(precision="bf16")}, {}, None),
        ("its student", {}, {"student": OLD_STUDENT}, {}),
        ("another student", {}, {"student": SNAPSHOT}, None),
        ("its student, of another size", {}, {"student": rec.Snapshot(digest=MODEL, size=1)}, None),
    ]
    told = [(tale, *plan) for plan in plans]
    told.append((left, "its student, whose teacher left", {}, {"student": OLD_STUDENT}, None))
    found = []
    for said, name, changes, continues, changed in told:
        goes_on = man.Continues.model_validate({"run": RUN, "student": None} | continues)
        made = make_manifest(name="next", continues=goes_on, **changes)
        found.append(
            case(
                name,
                "2.7.1",
                old=env.manifest_bytes(MANIFEST).hex(),
                entries=[sealed.envelope.hex() for sealed in said.entries],
                new=env.manifest_bytes(made).hex(),
                changed=changed,
            )
        )
    return found


# Proofs of forks


def proofs() -> list[Json]:
    first = entry(joining())
    one, two = (
        entry(rec.Withdraw(reason=text), seq=1, prev=first.digest) for text in ("one", "two")
    )
    later = entry(rec.Withdraw(reason="two"), seq=1, prev=first.digest, epoch=1)
    further = entry(rec.Withdraw(reason="two"), seq=2, prev=one.digest)
    others = entry(rec.Withdraw(reason="two"), 1, seq=1, prev=first.digest)

    def of(*said: bytes, **changes: Any) -> str:
        fields = {"format": proof.FORMAT, "manifest": env.manifest_bytes(MANIFEST)}
        return pack(fields | {"entries": said} | changes).hex()

    def stranger(text: str) -> bytes:
        fields = {"run": RUN, "author": STRANGER.key, "epoch": 0, "seq": 0, "prev": RUN}
        body = {"time_ms": 0, "body": rec.Withdraw(reason=text)}
        return env.seal_entry(rec.Entry.model_validate(fields | body), STRANGER).envelope

    a, b = one.envelope, two.envelope
    elsewhere = env.manifest_bytes(make_manifest(name="other"))
    forged = b[:-1] + bytes([b[-1] ^ 1])
    plans = [
        ("two entries of one number", of(a, b), True),
        ("the other way round", of(b, a), True),
        ("a field that is passed over", of(a, b, later=0), True),
        ("one entry twice", of(a, a), False),
        ("one entry", of(a), False),
        ("three entries", of(a, b, b), False),
        ("of two epochs", of(a, later.envelope), False),
        ("of two numbers", of(a, further.envelope), False),
        ("of two authors", of(a, others.envelope), False),
        ("a forged entry", of(a, forged), False),
        ("of nobody on the roster", of(stranger("one"), stranger("two")), False),
        ("another run's manifest", of(a, b, manifest=elsewhere), False),
        ("another format", of(a, b, format="dcfm-node/fork/0"), False),
        ("no manifest", of(a, b, manifest=None), False),
    ]
    return [case(name, "9.3", hex=text, holds=holds) for name, text, holds in plans]
