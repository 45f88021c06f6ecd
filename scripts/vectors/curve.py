"""Ed25519 by hand (RFC 8032, 5.1), for signatures that no honest library makes (SPEC 3.2.5)."""

import hashlib

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + y1 * x2) * pow(1 + k, P - 2, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P


def times(number: int, point: Point) -> Point:
    found = (0, 1)
    while number:
        if number & 1:
            found = add(found, point)
        point, number = add(point, point), number >> 1
    return found


def of_y(y: int) -> Point:
    """The point with this y and an even x."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    return (P - x if x & 1 else x), y


BASE = of_y(4 * pow(5, P - 2, P) % P)
ORDER_8 = of_y(2707385501144840649318225287225658788936804267575313519463743609750303402022)


def encode(point: Point) -> bytes:
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def challenge(commitment: bytes, key: bytes, data: bytes) -> int:
    """k of RFC 8032, 5.1.7."""
    return int.from_bytes(hashlib.sha512(commitment + key + data).digest(), "little") % L


def scalar(seed: bytes) -> int:
    """The secret scalar of a seed."""
    head = bytearray(hashlib.sha512(seed).digest()[:32])
    head[0] &= 248
    head[31] = head[31] & 127 | 64
    return int.from_bytes(head, "little")


def sign(seed: bytes, data: bytes, *, key: bytes, shift: Point = (0, 1)) -> bytes:
    """A signature that a reader with the cofactor takes for good: R is moved by `shift`, whose
    order divides 8, and the challenge is over that."""
    nonce = int.from_bytes(hashlib.sha512(seed + data).digest(), "little") % L
    commitment = encode(add(times(nonce, BASE), shift))
    s = (nonce + challenge(commitment, key, data) * scalar(seed)) % L
    return commitment + s.to_bytes(32, "little")
