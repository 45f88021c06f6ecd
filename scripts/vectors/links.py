"""Snapshots, control messages and bulk frames (SPEC 4 and 5)."""

import zlib

import numpy as np

from dcfm_node.net import frames
from dcfm_node.records import messages as msg
from dcfm_node.store.delta import code
from dcfm_node.swarm.chunks import CHUNK_BYTES, chunk_hashes, snapshot_digest
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack, sha256
from vectors.common import (
    MANIFEST,
    RUN,
    Json,
    bodies,
    case,
    entry,
    plain,
)


def snapshots() -> Json:
    cases = []
    sizes = [1, 31, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7]
    for size in sizes:
        data = (b"decentralized" * (size // 13 + 1))[:size]
        hashes = chunk_hashes(data)
        cases.append(
            case(
                f"{size} bytes",
                "5.1.1",
                repeat=b"decentralized".hex(),
                size=size,
                digest=snapshot_digest(size, hashes).hex(),
                hashes=hashes.hex(),
            )
        )
    return {"chunk_bytes": CHUNK_BYTES, "cases": cases}


def deltas() -> Json:
    weights = np.array([0.0, -0.0, 1.0, -1.5, 3e38, 1e-40, np.inf, -np.inf], "<f4")
    moved = weights[::-1].tobytes()
    pairs = [
        ("nothing changed", weights.tobytes(), weights.tobytes()),
        ("every sign and size", weights.tobytes(), moved),
        ("a base that ends before", weights.tobytes()[:9], moved),
        ("no base", b"", moved),
        ("a length that is no multiple", weights.tobytes(), moved[:-1]),
    ]
    cases = []
    for name, base, data in pairs:
        for width in (2, 4):
            block = code(base, data, width)
            cases.append(
                case(
                    f"{name}, {8 * width} bits",
                    "5.4.2",
                    width=width,
                    base=base.hex(),
                    chunk=data.hex(),
                    inflated=zlib.decompress(block).hex(),
                    block=block.hex(),
                )
            )
    block = code(b"", moved, 2)
    rejected = [
        ("a stream that makes less", code(b"", moved[:-2], 2)),
        ("a stream that makes more", code(b"", moved + b"00", 2)),
        ("bytes after the stream", block + b"0"),
        ("a stream cut short", block[:-1]),
        ("no stream", b"0" * 20),
    ]
    return {
        "accepted": cases,
        "rejected": [
            case(name, "5.4.2", width=2, length=len(moved), block=bad.hex())
            for name, bad in rejected
        ],
        "files": delta_files(),
    }


def delta_files() -> list[Json]:
    """Whole files `coded` that make eight bytes, and some that do not."""
    made = bytes(range(8))
    block = code(b"", made, 2)
    one = len(block).to_bytes(4, "big") + block
    plans = [
        ("one block", one, True),
        ("no block", b"", False),
        ("a block too many", one + one, False),
        ("a block without bytes", bytes(4) + one, False),
        ("a length cut short", one + b"\0\0\0", False),
        ("a block cut short", one[:-1], False),
        ("a length beyond the largest", (1_052_673).to_bytes(4, "big") + block, False),
    ]
    return [
        case(name, "5.4.2", coded=data.hex(), made=made.hex() if holds else None)
        for name, data, holds in plans
    ]


def sets() -> list[Json]:
    """Sets of chunks, as bits (SPEC 5.3.0): of how many, and which; null where it is refused."""
    plans: list[tuple[str, int, str, list[int] | None]] = [
        ("empty: all", 3, "", [0, 1, 2]),
        ("none", 3, "00", []),
        ("the first", 3, "01", [0]),
        ("the last", 3, "04", [2]),
        ("beyond the end", 3, "08", None),
        ("a byte too many", 3, "0100", None),
        ("of two bytes", 9, "0101", [0, 8]),
        ("a byte too few", 9, "01", None),
        ("beyond the end of two", 9, "0002", None),
        ("eight", 8, "ff", list(range(8))),
    ]
    return [case(name, "5.3.0", count=n, set=text, chunks=found) for name, n, text, found in plans]


def messages() -> Json:
    roster = [silo.key for silo in MANIFEST.roster]
    head = msg.Head(epoch=2, seq=5, digest=sha256(b"head"))
    empty = msg.Head(epoch=0, seq=-1, digest=RUN, forked=0)
    sync = msg.Sync(
        run=RUN,
        version="0.1.0",
        heads={roster[0]: head, roster[1]: empty},
        beats={roster[0]: (0, 2), roster[2]: (9, 3)},
        reply=True,
    )
    envelope = entry(bodies()[2]).envelope
    accepted = [
        sync,
        msg.Entries(run=RUN, entries=(envelope,), beats=()),
        msg.Mismatch(
            run=RUN,
            version="0.1.0",
            manifest=env.manifest_bytes(MANIFEST),
            reason="another manifest",
        ),
    ]
    fields = sync.model_dump()
    rejected = [
        ("unknown kind", "4.2", {"kind": "hello", "protocol": 1}),
        ("of version 0", "4.2.1", {k: v for k, v in fields.items() if k != "protocol"}),
        ("of version 2", "4.2.1", {"protocol": 2, "version": "9.0", "hello": "there"}),
        ("a version that is no integer", "4.2", fields | {"protocol": True}),
        ("no map", "4.2", [1]),
    ]
    return {
        "accepted": [
            case(m.kind, "4.2", message=plain(m.model_dump()), hex=env.encode_message(m).hex())
            for m in accepted
        ],
        "rejected": [case(n, c, hex=pack(value).hex()) for n, c, value in rejected],
    }


def bulk() -> Json:
    digest, hashes = sha256(b"snapshot"), sha256(b"chunk") * 2
    said: list[tuple[str, frames.Frames]] = [
        ("ask", frames.Ask(digest)),
        ("holds", frames.Holds(digest, b"", hashes)),
        ("holds", frames.Holds(digest, b"\x02", hashes)),
        ("has", frames.Has(digest, b"\xff" * frames.MAX_HAVE_BYTES)),
        ("lacks", frames.Lacks(digest)),
        ("want", frames.Want(digest, frames.MAX_CHUNKS - 1)),
        ("chunk", frames.Chunk(digest, 0, b"data")),
    ]
    rejected: list[tuple[str, list[bytes]]] = [
        ("no frame", []),
        ("three frames", [pack(("ask", digest)), b"", b""]),
        ("an unknown word", [pack(("give", digest))]),
        ("a digest of 31 bytes", [pack(("ask", digest[:31]))]),
        ("an ask with a payload", [pack(("ask", digest)), b"data"]),
        ("holds without its list", [pack(("holds", digest, b""))]),
        ("holds without its set", [pack(("holds", digest)), hashes]),
        ("a list of 33 bytes", [pack(("holds", digest, b"")), hashes[:33]]),
        ("an empty list", [pack(("holds", digest, b"")), b""]),
        ("a set of 1,025 bytes", [pack(("has", digest, bytes(1_025)))]),
        ("an index below 0", [pack(("want", digest, -1))]),
        ("an index beyond any snapshot", [pack(("want", digest, frames.MAX_CHUNKS))]),
        ("a boolean index", [pack(("want", digest, True))]),
        ("an empty chunk", [pack(("chunk", digest, 0)), b""]),
        ("a header that is not canonical", [b"\xdc\x00\x02" + pack(("ask", digest))[1:]]),
        ("a header of 1,153 bytes", [pack(("ask", digest, "a" * 1_109))]),
        ("a digest of 33 bytes", [pack(("ask", digest + b"0"))]),
        ("a digest as text", [pack(("ask", "a" * 32))]),
        ("a set as text", [pack(("has", digest, ""))]),
        ("no map", [pack({"ask": digest})]),
        ("an ask for two", [pack(("ask", digest, digest))]),
        ("a want with a payload", [pack(("want", digest, 0)), b"data"]),
        ("a chunk without its bytes", [pack(("chunk", digest, 0))]),
        ("a float index", [pack(("want", digest, 0.0))]),
    ]
    return {
        "accepted": [
            case(n, "5.3", frames=[bytes(f).hex() for f in frames.encode(m)]) for n, m in said
        ],
        "rejected": [case(n, "5.3", frames=[f.hex() for f in parts]) for n, parts in rejected],
        "sets": sets(),
    }
