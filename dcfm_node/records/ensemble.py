"""How a snapshot that holds several networks names their tensors (SPEC 5.1.4)."""


def of_expert(silo: str, name: str) -> str:
    """A tensor of a silo's expert. A silo's name has no dot in it."""
    return f"expert.{silo}.{name}"


def of_router(name: str) -> str:
    """A tensor of the trained router."""
    return f"router.{name}"
