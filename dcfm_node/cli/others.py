"""Peers outside the present run, sites that wait for approval and unknown keys, as text."""

from dcfm_node.api.pairing import PendingSite
from dcfm_node.api.status import Peers, Stranger
from dcfm_node.cli.output import table


def other_lines(found: Peers) -> list[str]:
    """All that `peers` shows beside the silos of the present run."""
    lines = _outside_lines(found)
    if found.waiting:
        lines += ["", *(line for site in found.waiting for line in asked_lines(site))]
        lines += [f"compare   fingerprint of this site: {found.fingerprint}"]
    known = {site.link_key: site.name for site in found.waiting}
    for stranger in found.pending:
        lines += ["", *stranger_lines(stranger, known.get(stranger.link_key))]
    if not lines and not found.peers:
        return ["no peers yet: 'dcfm-node invite' here, and 'dcfm-node join CODE' at another site"]
    return lines if found.peers or (lines and lines[0]) else lines[1:]


def _outside_lines(found: Peers) -> list[str]:
    """Peers that are no silos of the present run."""
    header = ("peer", "linked", "bulk", "fingerprint")
    rows = [
        (one.name, "yes" if one.control else "no", one.bulk or "down", one.fingerprint)
        for one in found.others
    ]
    if not rows:
        return []
    title = "from the next run on" if found.peers else "in no run of this node yet"
    return [*([""] if found.peers else []), f"{title}:", table(header, rows)]


def asked_lines(site: PendingSite) -> list[str]:
    """A site that waits for approval, with what to do."""
    how = f", introduced by {site.introduced_by}" if site.introduced_by else ""
    there = "; it has approved this site" if site.approved_there else ""
    control, bulk = ((one or "").rpartition(":")[0] for one in (site.control, site.bulk))
    elsewhere = [f"          its bulk data at another host: {site.bulk}"] if bulk != control else []
    return [
        f"pending   {site.name} ({site.control or 'only dials out'}{how}){there}",
        *elsewhere,
        f"          fingerprint: {site.fingerprint}",
        f"          if {site.name} reads out the same: dcfm-node peers approve {site.name}",
    ]


def stranger_lines(stranger: Stranger, name: str | None = None) -> list[str]:
    """A key that peers.toml lacks and that tried to connect."""
    if name is not None:
        return [f"pending: {name}, which waits for approval, dials from {stranger.address}"]
    return [
        f"pending: an unknown key tried to connect from {stranger.address}",
        f'  link_key = "{stranger.link_key}"',
        "  to pair with that site: 'dcfm-node invite' here and 'dcfm-node join CODE' there; or",
        "  'dcfm-node peers add FILE' with what 'dcfm-node id' prints there. A new silo or key",
        "  takes part from the next run on: 'dcfm-node run continue'",
    ]
