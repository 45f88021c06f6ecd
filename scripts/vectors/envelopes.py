"""Signed envelopes of entries and beats (SPEC 3.2, 3.6, 4.6)."""

import struct
from typing import Any

from dcfm_node.records import entries as rec
from dcfm_node.records import messages as msg
from dcfm_node.wire import envelope as env
from dcfm_node.wire.canonical import pack, sha256
from vectors import curve
from vectors.common import MANIFEST, NAMES, RUN, SEEDS, SIGNERS, Json, bodies, case, entry, plain


def sealed_dict(
    fields: Json, domain: bytes = env.ENTRY_DOMAIN, signer: env.Signer = SIGNERS[0]
) -> bytes:
    return sealed_bytes(pack(fields), domain, signer)


def sealed_bytes(
    body: bytes, domain: bytes = env.ENTRY_DOMAIN, signer: env.Signer = SIGNERS[0]
) -> bytes:
    return pack((body, signer.sign(domain + body)))


def oversize() -> list[list[Any]]:
    """A join that keeps every bound of its fields and is, signed, too large for an envelope."""
    label = ((1_000,) * 32, 0)
    join = rec.Join(name="ares", distils=True, version="", counts=(label,) * 5_400)
    whole, part = entry(join).envelope, pack(label)
    start, end = whole.index(part), whole.rindex(part) + len(part)
    return [
        [whole[:start].hex(), 1],
        [part.hex(), (end - start) // len(part)],
        [whole[end:].hex(), 1],
    ]


def signatures() -> list[Json]:
    """Where readers of Ed25519 differ: one rule says which signatures hold (SPEC 3.2.5)."""
    fields = entry(rec.Withdraw(reason="")).entry.model_dump()
    own = SIGNERS[0].key
    mixed = curve.encode(curve.add(curve.times(curve.scalar(SEEDS[0]), curve.BASE), curve.ORDER_8))

    def made(key: bytes, signature: Any, order: int = 1) -> tuple[bytes, bytes]:
        """A body for which the challenge is a multiple of `order`, and its signature."""
        for time_ms in range(10_000):
            body = pack(fields | {"author": key, "time_ms": time_ms})
            found = signature(env.ENTRY_DOMAIN + body)
            if curve.challenge(found[:32], key, env.ENTRY_DOMAIN + body) % order == 0:
                return body, found
        raise AssertionError("no such challenge")

    def forged(key: bytes) -> tuple[bytes, bytes]:
        return made(key, lambda data: curve.encode((0, 1)) + bytes(32), 8)

    def signed(key: bytes, shift: curve.Point = (0, 1), order: int = 1) -> tuple[bytes, bytes]:
        return made(key, lambda data: curve.sign(SEEDS[0], data, key=key, shift=shift), order)

    body, good = signed(own)
    raised = int.from_bytes(good[32:], "little") + curve.L
    plans: list[tuple[str, tuple[bytes, bytes], bool]] = [
        ("as RFC 8032 makes it", (body, good), True),
        ("S is not below L", (body, good[:32] + raised.to_bytes(32, "little")), False),
        ("it holds with the cofactor alone", signed(own, curve.ORDER_8), False),
        ("the key has a part of order 8, and the equation holds", signed(mixed, order=8), True),
        ("by nobody, under the key of order 1", forged(curve.encode((0, 1))), False),
        ("the same, y as p + 1", forged((curve.P + 1).to_bytes(32, "little")), False),
        ("the same, x as minus 0", forged(bytes([1, *bytes(30), 0x80])), False),
        ("by nobody, under the key of order 2", forged(curve.encode((0, curve.P - 1))), False),
        ("by nobody, under a key of order 4", forged(bytes(32)), False),
        ("by nobody, under a key of order 8", forged(curve.encode(curve.ORDER_8)), False),
    ]
    return [
        case(name, "3.2.5", envelope=pack(pair).hex(), holds=holds) for name, pair, holds in plans
    ]


def rejected_entries() -> list[Json]:
    good = entry(rec.Vote(term=1, round=0, candidate=SIGNERS[1].key))
    fields = good.entry.model_dump()
    expert = bodies()[1].model_dump()
    body, signature = pack(fields), good.envelope[-64:]
    flipped = good.envelope[:-1] + bytes([good.envelope[-1] ^ 1])
    items = sorted(fields.items(), reverse=True)
    backwards = b"\x87" + b"".join(pack(key) + pack(value) for key, value in items)
    long_seq = body.replace(pack("seq") + b"\x00", pack("seq") + b"\xcc\x00")
    float_32 = pack(fields | {"body": expert}).replace(
        pack(0.25), b"\xca" + struct.pack(">f", 0.25)
    )
    plans: list[tuple[str, str, bytes]] = [
        ("a bit of the signature differs", "3.2.2", flipped),
        ("signed with another key", "3.2.2", sealed_dict(fields, signer=SIGNERS[1])),
        (
            "the author is no point of the curve",
            "3.2.2",
            sealed_dict(fields | {"author": b"\x02" + bytes(31)}),
        ),
        ("signed under the beat's domain", "3.2.1", sealed_dict(fields, env.BEAT_DOMAIN)),
        ("signed without a domain", "3.2.1", sealed_dict(fields, b"")),
        ("a beat", "3.2.1", env.seal_beat(beat(), SIGNERS[0]).envelope),
        ("unknown kind", "3.6", sealed_dict(fields | {"body": {"kind": "praise"}})),
        ("no kind", "3.6", sealed_dict(fields | {"body": {"reason": ""}})),
        ("body keys out of order", "1.1.4", sealed_bytes(backwards)),
        ("an integer of the body in a longer form", "1.1.1", sealed_bytes(long_seq)),
        ("a float32 in the body", "1.1.2", sealed_bytes(float_32)),
        ("body as text", "3.2", pack((fields["body"]["kind"], signature))),
        ("an array of three", "3.2", pack((body, signature, b""))),
        ("signature of 63 bytes", "3.2", pack((body, signature[:63]))),
        ("the envelope's length in a longer form", "1.2.1", b"\xdc\x00\x02" + good.envelope[1:]),
        ("a trailing byte", "1.2.1", good.envelope + b"\x00"),
        ("no bytes at all", "1.2.1", b""),
    ]
    cases = [case(name, clause, envelope=data.hex()) for name, clause, data in plans]
    return [*cases, case("too large by its whole", "3.2.3", pieces=oversize())]


def beat(counter: int = 1) -> msg.Beat:
    return msg.Beat(
        run=RUN,
        author=SIGNERS[0].key,
        counter=counter,
        epoch=1,
        activity="refine",
        round=2,
        done=3,
        total=1_000,
        ready=False,
    )


def bundles() -> Json:
    roster = [silo.key for silo in MANIFEST.roster]
    head = msg.Head(epoch=1, seq=4, digest=sha256(b"head"))
    label = msg.Bundle(
        run=RUN,
        author=SIGNERS[0].key,
        version="0.1.0",
        manifest=env.manifest_bytes(MANIFEST),
        heads={roster[1]: head},
        held={sha256(b"snapshot"): True, sha256(b"left out"): False},
        entries=sha256(b""),
    )
    fields = label.model_dump()
    domain = env.BUNDLE_DOMAIN
    sealed = env.seal_bundle(label, SIGNERS[0])
    rejected = [
        ("signed under the entry's domain", "3.2.1", sealed_dict(fields)),
        ("signed with another key", "3.2.2", sealed_dict(fields, domain, SIGNERS[1])),
    ]
    return {
        "accepted": [case("label", "10.1.1", bundle=plain(fields), envelope=sealed.hex())],
        "rejected": [case(name, clause, envelope=data.hex()) for name, clause, data in rejected],
    }


def envelopes() -> Json:
    sealed = [entry(body, seq=0) for body in bodies()]
    sealed.append(entry(bodies()[-1], 1, epoch=2**53, seq=100_000, prev=sha256(b""), time_ms=2**53))
    whole = env.seal_beat(beat(), SIGNERS[0])
    integral = sealed[1].entry.model_dump()
    integral["body"]["metrics"] = {"ci_gap": 1}
    return {
        "domains": {
            "entry": env.ENTRY_DOMAIN.hex(),
            "beat": env.BEAT_DOMAIN.hex(),
            "bundle": env.BUNDLE_DOMAIN.hex(),
        },
        "seeds": {name: seed.hex() for name, seed in zip((*NAMES, "stranger"), SEEDS, strict=True)},
        "signatures": signatures(),
        "entries": {
            "accepted": [
                case(
                    s.entry.body.kind,
                    "3.6",
                    entry=plain(s.entry.model_dump()),
                    envelope=s.envelope.hex(),
                    digest=s.digest.hex(),
                )
                for s in sealed
            ]
            + [
                case(
                    "an integer where a float is asked",
                    "1.2.3",
                    entry=plain(integral),
                    envelope=sealed_dict(integral).hex(),
                    digest=sha256(env.ENTRY_DOMAIN, pack(integral)).hex(),
                )
            ],
            "rejected": rejected_entries(),
        },
        "bundles": bundles(),
        "beats": {
            "accepted": [
                case(
                    "beat",
                    "4.6",
                    beat=plain(whole.beat.model_dump()),
                    envelope=whole.envelope.hex(),
                )
            ],
            "rejected": [
                case("an entry", "3.2.1", envelope=sealed[2].envelope.hex()),
                case(
                    "signed under the entry's domain",
                    "3.2.1",
                    envelope=sealed_dict(beat().model_dump()).hex(),
                ),
                case(
                    "signed with another key",
                    "3.2.2",
                    envelope=sealed_dict(beat().model_dump(), env.BEAT_DOMAIN, SIGNERS[1]).hex(),
                ),
                case(
                    "counter below 0",
                    "1.2.2",
                    envelope=sealed_dict(
                        beat().model_dump() | {"counter": -1}, env.BEAT_DOMAIN
                    ).hex(),
                ),
                case(
                    "counter below the epoch",
                    "4.6",
                    envelope=sealed_dict(beat().model_dump() | {"epoch": 2}, env.BEAT_DOMAIN).hex(),
                ),
            ],
        },
    }
