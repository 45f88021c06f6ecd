"""The simulated silos' keys, and signatures that cost a hash instead of a curve operation.

The keys are Ed25519 keys. No digest covers a signature, so a run is the same with either kind.
"""

import hashlib
from functools import lru_cache

from dcfm_node.wire.envelope import Signer, opener


class HashSigner:
    """Signs by hash. No one else in the simulation does so for this key; anyone outside could."""

    def __init__(self, key: bytes) -> None:
        self.key = key

    def sign(self, data: bytes) -> bytes:
        return _signature(self.key, data)


def hashed(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether `HashSigner` made a signature."""
    return signature == _signature(key, data)


HASHED = opener(hashed, heartbeats=32_768, entries=8_192)
"""The opener that all simulated nodes share, so that a thousand of them can heartbeat."""


@lru_cache(maxsize=4)
def signers(count: int) -> tuple[Signer, ...]:
    """The first `count` keys; the same in every run."""
    names = (f"simulated node {index}" for index in range(count))
    return tuple(Signer.from_seed(hashlib.sha256(name.encode()).digest()) for name in names)


def _signature(key: bytes, data: bytes) -> bytes:
    return hashlib.sha512(key + data).digest()
