"""Fixed keys, one run, and the JSON that the vectors are written in."""

from typing import Any

from dcfm_node.methods.dcfm.schedule import Dcfm
from dcfm_node.records import entries as rec
from dcfm_node.records import manifest as man
from dcfm_node.records.settings import Training
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import sha256

SEEDS = [bytes([number]) * 32 for number in range(1, 7)]
SIGNERS = [env.Signer.from_seed(seed) for seed in SEEDS]
NAMES = ("ares", "bede", "ceto", "dido", "echo")
STRANGER = SIGNERS[5]

Json = dict[str, Any]


def make_manifest(**changes: Any) -> man.Manifest:
    stage = Training(steps=1_000)
    fields: Json = {
        "name": "toy",
        "sample_shape": (2,),
        "attributes": (
            man.Attribute(name="horizontal", values=("left", "right")),
            man.Attribute(name="vertical", values=("bottom", "top")),
        ),
        "method": Dcfm(local=stage, refine=stage, distil=stage),
        "standardise": "none",
        "probes": man.Probes(share=0.0),
        "roster": tuple(
            man.Silo(name=name, key=signer.key)
            for name, signer in zip(NAMES, SIGNERS, strict=False)
        ),
    }
    return man.Manifest.model_validate(fields | changes)


MANIFEST = make_manifest()
RUN = env.run_id(MANIFEST)
SNAPSHOT = rec.Snapshot(digest=sha256(b"file"), size=1_000)


def plain(value: Any) -> Any:
    """A value in JSON, tagged where JSON has no word for it."""
    match value:
        case bytes():
            return {"$bytes": value.hex()}
        case float():
            return {"$float": repr(value)}
        case list() | tuple():
            return [plain(item) for item in value]
        case dict() if all(type(key) is str for key in value):
            return {key: plain(item) for key, item in value.items()}
        case dict():
            return {"$map": [[plain(key), plain(item)] for key, item in value.items()]}
    return value


def case(name: str, clause: str, **fields: Any) -> Json:
    return {"name": name, "clause": clause, **fields}


def shared(cases: list[Json]) -> Json:
    """Cases whose `entries` are places in one list of `envelopes`, each of which is there once."""
    envelopes = dict.fromkeys(text for made in cases for text in made["entries"])
    places = {text: place for place, text in enumerate(envelopes)}
    numbered = [made | {"entries": [places[text] for text in made["entries"]]} for made in cases]
    return {"envelopes": list(envelopes), "cases": numbered}


def entry(
    body: Any, author: int = 0, *, epoch: int = 0, seq: int = 0, prev: bytes = RUN, time_ms: int = 0
) -> env.Sealed:
    signer = SIGNERS[author]
    made = rec.Entry(
        run=RUN, author=signer.key, epoch=epoch, seq=seq, prev=prev, time_ms=time_ms, body=body
    )
    return env.seal_entry(made, signer)


def bodies() -> list[Any]:
    one, two, three = (sha256(bytes([number])) for number in range(3))
    metrics = {"ci_gap": 0.25, "holdout_loss": 1.0}
    return [
        rec.Join(name="ares", distils=True, version="0.1.0", counts=(((0, 0), 10), ((1, 0), 3))),
        rec.Expert(round=1, snapshot=SNAPSHOT, parents=(one, two), metrics=metrics),
        rec.Vote(term=1, round=0, candidate=SIGNERS[1].key),
        rec.Lease(term=1, round=0, votes=(one, two, three)),
        rec.Propose(term=1, preparation=rec.Preparation(joins=(one,), probes=())),
        rec.Accept(term=1, preparation=rec.Preparation(joins=(one, two), probes=((0, 1),))),
        rec.Checkpoint(
            term=1,
            round=0,
            lease=one,
            snapshot=SNAPSHOT,
            teachers=(two, three),
            step=500,
        ),
        rec.Student(
            term=1,
            round=0,
            lease=one,
            snapshot=SNAPSHOT,
            teachers=(two, three),
            missing=(SIGNERS[4].key,),
            resumed=None,
            final=False,
            seed=7,
            version="0.1.0",
            metrics={},
        ),
        rec.Student(
            term=2**10,
            round=10_000,
            lease=one,
            snapshot=SNAPSHOT,
            teachers=(two,),
            missing=(),
            resumed=two,
            final=True,
            seed=0,
            version="",
            metrics=metrics,
        ),
        rec.Endorse(student=one, metrics=metrics),
        rec.Refuse(student=one, reason="too far off", metrics={}),
        rec.Audit(round=1, scores=((one, {"joint": -0.5}), (two, {}))),
        rec.Verdict(subject=SIGNERS[2].key, cause="snapshot", entry=two, reason="not finite"),
        rec.Verdict(subject=SIGNERS[2].key, cause="flood", entry=None, reason=""),
        rec.Withdraw(reason="größer"),
    ]
