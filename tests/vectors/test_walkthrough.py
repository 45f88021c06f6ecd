"""protocol/WALKTHROUGH.md says the bytes of a vote as the text of SPEC makes them."""

import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.loading import FOLDER, load, sha256, spell

TEXT = (FOLDER.parent / "WALKTHROUGH.md").read_text(encoding="utf-8")
DOMAIN = b"dcfm-node/entry/1\0"


def rows(section: str) -> list[bytes]:
    """The bytes in the tables of a section, in order."""
    part = TEXT.split(f"\n## {section}")[1].split("\n## ")[0]
    return [bytes.fromhex(found) for found in re.findall(r"^\| `([0-9a-f]+)` \|", part, re.M)]


def test_the_walkthrough_shows_the_bytes_that_the_text_makes():
    """SPEC 1.1, 3.1 and 3.2."""
    keys = [Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32) for seed in (1, 2)]
    ares, bede = (key.public_key().public_bytes_raw() for key in keys)
    run = bytes.fromhex(load("manifests")["accepted"][0]["run"])
    body = b"".join(rows("1"))
    fields = {
        "run": run,
        "author": ares,
        "epoch": 0,
        "seq": 1,
        "prev": body[body.index(b"prev") + 6 :][:32],
        "time_ms": 1_700_000_000_000,
        "body": {"kind": "vote", "term": 300, "round": 0, "candidate": bede},
    }
    assert spell(fields) == body
    assert rows("2") == [DOMAIN]
    signature = keys[0].sign(DOMAIN + body)
    head, size, _, other, *signed = rows("3")
    assert b"".join([head, size, body, other, *signed]) == spell((body, signature))
    assert sha256(DOMAIN, body).hex() in TEXT.split("\n## 4")[1]
