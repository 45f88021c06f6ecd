"""Values, and changed bytes."""

from hypothesis import strategies as st

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, width=32)
    | st.floats(0, 1)
    | st.text(max_size=40)
    | st.binary(max_size=300)
)


def maps(inner):
    return st.dictionaries(st.text(max_size=8) | st.binary(max_size=8), inner, max_size=20)


values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=20).map(tuple) | maps(inner), max_leaves=40
)


def mutated(draw, original: bytes) -> bytes:
    """Bytes changed, cut out or put in at one place."""
    at = draw(st.integers(0, len(original)))
    cut = draw(st.integers(0, 4))
    put = draw(st.binary(max_size=4))
    return original[:at] + put + original[at + cut :]
