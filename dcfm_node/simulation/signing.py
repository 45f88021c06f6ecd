"""The simulated silos' keys, and signatures that cost a hash instead of a curve.

Keys are those of Ed25519, and a signature is in no digest: a run is the same with either.
"""

import hashlib
from functools import lru_cache

from dcfm_node.wire.envelope import Signer, opener


class HashSigner:
    """Signs as nobody else in the simulation does; anyone outside could."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def sign(self, data: bytes) -> bytes:
        return _signature(self.key, data)


def hashed(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `HashSigner` made a signature."""
    return signature == _signature(key, data)


HASHED = opener(hashed, heartbeats=32_768, entries=8_192)
"""All simulated nodes share it, so that a thousand of them heartbeat."""


@lru_cache(maxsize=4)
def signers(count: int) -> tuple[Signer, ...]:
    """The same keys in every run."""
    names = (f"simulated node {index}" for index in range(count))
    return tuple(Signer.from_seed(hashlib.sha256(name.encode()).digest()) for name in names)


def _signature(key: bytes, data: bytes) -> bytes:
    return hashlib.sha512(key + data).digest()
