"""The report of what left a site, for people."""

import textwrap
from collections import Counter

from dcfm_node.api.egress import Egress, OwnSnapshot
from dcfm_node.cli.output import size, table
from dcfm_node.words import utc

WIDTH, DEEP = 100, " " * 6
"""Of lines of prose, in characters; what a line that goes on begins with."""


def egress_text(found: Egress) -> str:
    """The report for people."""
    from dcfm_node.daemon.egress_facts import period

    parts = [
        f"What left silo {found.silo} (signing key {found.key[:16]}…)\n"
        f"Period    {period(found)}\n"
        f"{_wrapped(f'Complete  {_complete(found)}')}\n"
        "Samples   none: no kind of message has a field for a sample or for its label (SPEC 11.7)",
        _by_peer(found),
        _by_kind(found),
        _weights(found),
        "\n".join(
            _wrapped(f"Label counts told in run {of.run.name} {of.run.id[:8]}: {of.told}.")
            for of in found.counts
        ),
        _wrapped(_MEANING),
    ]
    return "\n\n".join(part for part in parts if part)


_MEANING = (
    "Weights can keep traces of the samples that they were trained on. Any member may pass weights"
    " on to any other member, and nothing can be called back. Sent means handed to an encrypted"
    " link: what a link lost on its way is counted, too. Not counted here is what people copy by"
    " other means, what they fetch for themselves ('student fetch'), what this node's page shows"
    " ([page]), and the greeting by which 'dcfm-node check' tries links while the node is stopped."
)


def _wrapped(text: str) -> str:
    """A paragraph on lines that fit a terminal."""
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * 10 * text.startswith("Complete"))


def _complete(found: Egress) -> str:
    if found.begins_ms is None:
        return "no ledger is here: this node sent nothing yet"
    if not found.gaps:
        return "yes, up to what was sent in the last 10 seconds"
    told = [
        f"from {utc(gap.from_ms)} to {utc(gap.until_ms) if gap.until_ms else 'now'}"
        for gap in found.gaps[-3:]
    ]
    more = f", and {len(found.gaps) - 3} times before" if len(found.gaps) > 3 else ""
    return (
        f"no: the node was killed, or lost its disk, {', '.join(told)}{more}; what it sent after"
        " the first of these times, usually of at most 10 seconds, is not recorded"
    )


def _by_peer(found: Egress) -> str:
    """Bytes by receiver: weights, counts and figures, anything else."""
    derived = {kind.kind: kind.derived for kind in found.kinds}
    sums: dict[str, Counter[str]] = {}
    for total in found.totals:
        what: str = derived[total.kind]
        if total.own is False and what in ("weights", "figures"):
            what = f"others' {what}"
        unknown = "(a bundle)" if total.plane == "hand" else "(a site in pairing)"
        sums.setdefault(total.peer or unknown, Counter())[what] += total.bytes
    columns = ("weights", "figures", "others' weights", "others' figures", "names", "nothing")
    rows = [
        (peer, *(size(of[column]) for column in columns), size(of.total()))
        for peer, of in sums.items()
    ]
    header = (
        "sent to",
        "own weights",
        "own counts and figures",
        "others' weights",
        "others' figures",
        "names of values and columns",
        "nothing of data",
        "all",
    )
    return table(header, rows) if rows else ""


def _by_kind(found: Egress) -> str:
    items, sizes = Counter[str](), Counter[str]()
    for total in found.totals:
        items[total.kind] += total.items
        sizes[total.kind] += total.bytes
    order = {"weights": 0, "figures": 1, "names": 2, "nothing": 3}
    kinds = sorted(found.kinds, key=lambda kind: (order[kind.derived], kind.kind))
    if not kinds:
        return ""
    rows = [(of.kind, items[of.kind], size(sizes[of.kind]), of.derived) for of in kinds]
    told = [
        textwrap.fill(
            f"{of.kind}: {of.carries}", WIDTH, initial_indent="  ", subsequent_indent=DEEP
        )
        for of in kinds
    ]
    header = ("kind", "items", "size", "follows from private data")
    return "\n".join([table(header, rows), "", "What each kind carries:", *told])


def _weights(found: Egress) -> str:
    rows = [
        (
            of.digest[:12],
            of.what,
            "private data" if of.from_private_data else "experts alone",
            utc(of.published_ms),
            size(of.size_bytes),
            "yes" if of.newest else "no",
            _holders(of),
        )
        for of in found.snapshots
    ]
    header = ("weights", "what", "made from", "published UTC", "size", "in use", "who has them")
    return table(header, rows) if rows else ""


def _holders(of: OwnSnapshot) -> str:
    told = (f"{held.silo or 'by hand'} ({', '.join(held.known_by)})" for held in of.holders)
    return "; ".join(told) or "nobody that this node knows of"
