"""protocol/WALKTHROUGH.md: one vote, byte by byte, from its seed to its digest (SPEC 1 to 3)."""

from dcfm_node.records import entries as rec
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack
from vectors.common import SEEDS, SIGNERS, entry

WIDTH = 34
"""Bytes on a line."""

Line = tuple[bytes, str]


def _map(fields: dict[str, tuple[bytes, str]]) -> list[Line]:
    """The lines of a map's fields, in canonical order."""
    return [line for key in sorted(fields) for line in ((pack(key), f'"{key}"'), fields[key])]


def _table(lines: list[Line]) -> str:
    rows = []
    for data, meaning in lines:
        for start in range(0, len(data), WIDTH):
            part = data[start : start + WIDTH].hex()
            rows.append(f"| `{part}` | {meaning if not start else '…'} |")
    return "| bytes | meaning |\n| --- | --- |\n" + "\n".join(rows)


def body_lines(vote: env.Sealed) -> list[Line]:
    """The entry's canonical bytes, in the pieces that mean something."""
    said, record = vote.entry, vote.entry.body
    assert isinstance(record, rec.Vote)
    fields = [
        (b"\x84", "map of 4 fields (1.1.1), keys in ascending order (1.1.4)"),
        *_map(
            {
                "candidate": (pack(record.candidate), "bin of 32 bytes (`c4 20`): a key"),
                "kind": (pack(record.kind), '"vote": which record (3.6)'),
                "round": (pack(record.round), "0"),
                "term": (pack(record.term), "300: uint16 (`cd`), the shortest form (1.1.1)"),
            }
        ),
    ]
    outer = _map(
        {
            "author": (pack(said.author), "the public key of seed 1"),
            "body": (b"", ""),
            "epoch": (pack(said.epoch), "0"),
            "prev": (pack(said.prev), "digest of the author's entry before"),
            "run": (pack(said.run), "the run id (2.1)"),
            "seq": (pack(said.seq), "1"),
            "time_ms": (pack(said.time_ms), "uint64 (`cf`): Unix milliseconds"),
        }
    )
    place = outer.index((b"", ""))
    return [
        (b"\x87", "map of 7 fields (3.1)"),
        *outer[:place],
        *fields,
        *outer[place + 1 :],
    ]


def walkthrough() -> str:
    """The whole document."""
    first = entry(rec.Join(name="ares", distils=True, version="", counts=(((0, 1), 3),)))
    record = rec.Vote(term=300, round=0, candidate=SIGNERS[1].key)
    vote = entry(record, seq=1, prev=first.digest, time_ms=1_700_000_000_000)
    body = pack(vote.entry.model_dump())
    lines = body_lines(vote)
    assert b"".join(data for data, _ in lines) == body
    signature = vote.envelope[-64:]
    around: list[Line] = [
        (b"\x92", "array of 2"),
        (vote.envelope[1 : 3 if len(body) < 256 else 4], f"bin of {len(body)} bytes: B follows"),
        (body[:8], f"B, {len(body)} bytes, as above"),
        (vote.envelope[-66:-64], "bin of 64 bytes: the signature follows"),
        (signature, "R, then S (3.2.5)"),
    ]
    return f"""\
# One vote, byte by byte

`scripts/make_vectors` writes this file with the code that nodes run, and a test compares
the two. Clauses are those of `SPEC.md`. The run is "toy" of `vectors/manifests.json`.
Seed 1 is 32 bytes `01`. The author is the silo "ares".

## 1 The body

The author votes for the silo "bede" as leader of round 0 in term 300. `B` is the
canonical encoding (1.1) of the entry (3.1), {len(body)} bytes:

{_table(lines)}

## 2 What is signed

The domain of entries (3.2.1) stands before `B`:

| bytes | meaning |
| --- | --- |
| `{env.ENTRY_DOMAIN.hex()}` | "dcfm-node/entry/1" and one zero byte |
| `{body[:8].hex()}…` | B |

Ed25519 with seed `{SEEDS[0][:4].hex()}…` gives the signature. It is always the same:
Ed25519 draws nothing at random.

## 3 The envelope

{_table(around)}

That is {len(vote.envelope)} bytes in all. A message `entries` (4.4) carries them as one byte
string.

## 4 The digest

SHA-256 of the domain and `B` (3.2.4), without the signature:

`{vote.digest.hex()}`

The author's next entry has it as `prev`. A lease that this vote elects has it
among its `votes` (6.1.3).
"""
