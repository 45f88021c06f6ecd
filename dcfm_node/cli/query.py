"""Commands that ask a running daemon: status, peers, stop, withdraw."""

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer

from dcfm_node.api.client import call
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config, state_folder
from dcfm_node.cli.output import (
    ago,
    answer,
    ask,
    clear,
    print_json,
    say,
    share,
    size,
    table,
)
from dcfm_node.errors import ConfigError, Starting, Unreachable

DEGRADED = 3


def register(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (status, peers, stop, withdraw):
        app.command()(command)


def status(
    config: Config = DEFAULT_CONFIG,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew every second.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what the node does next and why.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Where the run is, what this node does, and who is missing. Exits with 3 if degraded."""
    state = state_folder(config)
    while True:
        try:
            found = call(state, "status")
        except Starting as starting:
            found = starting.document
        if watch and not as_json:
            clear()
        answer(found, as_json, partial(_status_text, explain=explain))
        if not watch:
            raise typer.Exit(0 if found["health"] == "healthy" else DEGRADED)
        time.sleep(1.0)


def peers(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Who is linked, what went over each link, and which unknown keys knocked."""
    answer(call(state_folder(config), "peers"), as_json, _peers_text)


def _peers_text(found: dict[str, Any]) -> str:
    header = ("peer", "linked", "bulk", "heard", "version", "sent", "received", "trouble")
    rows = [
        (
            peer["name"],
            "yes" if peer["linked"] else "no",
            _bulk(peer),
            ago(peer["heard_ago_s"]),
            peer["version"] or "-",
            size(peer["bytes_sent"]),
            size(peer["bytes_received"]),
            _trouble(peer),
        )
        for peer in found["peers"]
    ]
    dials = [
        f"dials     {peer['name']}: {line}" for peer in found["peers"] for line in _dials(peer)
    ]
    pending = [
        f"\npending: an unknown key knocked from {stranger['address']}"
        f'\n  link_key = "{stranger["link_key"]}"'
        "\n  to approve it, put its [[peer]] block ('dcfm-node id' there) in peers.toml and"
        "\n  restart. A new silo, or a new sign_key, makes another run: go on from this one"
        "\n  with 'dcfm-node run continue'"
        for stranger in found["pending"]
    ]
    return "\n".join([table(header, rows), *dials, *pending])


def stop(
    config: Config = DEFAULT_CONFIG,
    grace: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds the present work may take to end.")
    ] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Stop the daemon: it takes no new work, and later resumes where it stopped. Exits with 1 if
    it still runs 30 s after its grace."""
    state = state_folder(config)
    found = call(state, "stop", grace_s=grace)
    deadline = time.monotonic() + grace + 30.0
    stopped = False
    while not stopped and time.monotonic() < deadline:
        try:
            call(state, "status", timeout_s=5.0)
            time.sleep(0.2)
        except Unreachable:
            stopped = True
    if as_json:
        print_json(found | {"stopped": stopped})
    else:
        say("stopped" if stopped else "still stopping: its log says what holds it")
    if not stopped:
        raise typer.Exit(1)


def withdraw(
    reason: Annotated[str, typer.Option(help="Told to all peers and kept in the journal.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask; needed where no terminal is.")
    ] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Leave the run for good: this silo's experts serve no more. There is no way back."""
    from dcfm_node.records.entries import check_reason

    reason = check_reason(reason)
    state = state_folder(config)
    found = call(state, "status")
    own = next(silo for silo in found["silos"] if silo["self"])
    if not own["withdrawn"] and not yes:
        say(
            "Its experts will teach no more. What the others' experts learned from it in earlier"
            " rounds stays",
            "in them; a run begun anew without it has none of that.",
            err=True,
        )
        _confirm(f"{found['node']} leaves the run {found['run']['name']} for good. Withdraw?")
    found = call(state, "withdraw", reason=reason)
    if as_json:
        print_json(found)
    elif found["already"]:
        say(f"this silo had withdrawn already: {found['reason']}")
    else:
        say("this silo has withdrawn; 'dcfm-node stop' ends its node")


def _confirm(question: str) -> None:
    """Ask on the terminal; stdout stays free for the answer.

    Raises:
        Abort: the operator said no.
        ConfigError: there is nobody to ask.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(
            "there is no way back, and no terminal on which to confirm it",
            where="withdraw",
            fix="pass --yes",
        )
    ask(question)


def _bulk(silo: dict[str, Any]) -> str:
    """How snapshots pass to and from a silo."""
    way = silo["links"].get("bulk")
    return "-" if way is None else {"own": "up", "": "down"}.get(way["via"], way["via"])


def _dials(silo: dict[str, Any]) -> list[str]:
    """Which dials to a silo fail, how often and why, on either plane; a port once."""
    found = {
        failure["address"]: f"{plane} at {failure['address']}: {failure['times']} in a row failed:"
        f" {failure['reason']}"
        for plane in ("bulk", "control")
        for failure in silo["links"].get(plane, {}).get("failures", ())
    }
    return list(found.values())


def _trouble(peer: dict[str, Any]) -> str:
    """What is wrong with a peer, and by whose word."""
    said = [f"{v['cause']} ({', '.join(v['by'])}): {v['reason']}" for v in peer["verdicts"]]
    quarantine = f"in quarantine: {peer['quarantined']}" if peer["quarantined"] else ""
    found = [peer["trouble"] or peer["refused"], quarantine, *said]
    return "; ".join(text for text in found if text)


def _status_text(answer: dict[str, Any], *, explain: bool) -> str:
    if answer["health"] == "starting":
        return f"{answer['node']}  starting: {answer['doing']['why']}"
    phase = answer["phase"] or {"stage": "starting", "round": 0}
    method = answer["schedule"] if answer["method"] == "dcfm" else answer["method"]
    lines = [
        f"{answer['node']}  {answer['health']}   run {answer['run']['name']}"
        f" {answer['run']['id'][:8]}   {phase['stage']} round {phase['round']}"
        f"   ({method}, {answer['participation']})",
        "",
        _silo_table(answer["silos"]),
        "",
        f"traffic   {size(answer['bytes_sent'])} sent, {size(answer['bytes_received'])} received"
        f"   up {ago(answer['uptime_s'])}   on {answer['worker']['device']}",
        *_bundle_lines(answer["silos"]),
        *(f"behind    {what}" for what in answer["catching_up"]),
        *_skew_lines(answer),
        *_knock_lines(answer),
        *_crowd_lines(answer),
        _coverage_text(answer["coverage"]),
        *_weight_lines(answer["silos"]),
        _student_text(answer["latest"], answer["students"]),
    ]
    lines += [f"problem   {problem}" for problem in answer["problems"]]
    if explain:
        doing = answer["doing"]
        lines.append(f"why       {doing['why']}")
        awaited = [silo for silo in answer["silos"] if silo["name"] in doing["waiting_on"]]
        lines += [f"waits for {silo['name']}: {_whereabouts(silo)}" for silo in awaited]
        lines += [f"dials     {s['name']}: {line}" for s in answer["silos"] for line in _dials(s)]
    return "\n".join(lines)


def _weight_lines(silos: Sequence[dict[str, Any]]) -> list[str]:
    """Silos that weigh less than the samples they say they have: policy.max_share binds."""
    total = sum(silo["samples"] for silo in silos if silo["share"])
    return [
        f"weight    {silo['name']} counts {silo['samples']} of {total} samples, and weighs"
        f" {silo['share']:.0%} of all: the most that policy.max_share leaves it"
        for silo in silos
        if silo["share"] and silo["share"] < 0.999 * silo["samples"] / total
    ]


def _skew_lines(answer: dict[str, Any]) -> list[str]:
    """Peers whose software is of another version than this node's."""
    others = [(s["name"], s["version"]) for s in answer["silos"] if s["version"]]
    skewed = [f"{name} {version}" for name, version in others if version != answer["version"]]
    return [f"versions  this node {answer['version']}; {', '.join(skewed)}"] if skewed else []


def _knock_lines(answer: dict[str, Any]) -> list[str]:
    """Unknown keys that knocked, in one line."""
    if not (strangers := answer["pending"]):
        return []
    keys = (
        "1 key that peers.toml lacks"
        if len(strangers) == 1
        else (f"{len(strangers)} keys {'or more ' * answer['pending_more']}that peers.toml lacks")
    )
    last = strangers[-1]["address"]
    return [f"knocks    {keys}, the last from {last}: 'dcfm-node peers' shows them"]


def _crowd_lines(answer: dict[str, Any]) -> list[str]:
    """Connections that do not say whose they are, once there were too many."""
    crowds = [crowd for crowd in answer["unknown"].values() if crowd["hung_up"]]
    if not crowds:
        return []
    waiting, cut = (sum(crowd[key] for crowd in crowds) for key in ("waiting", "hung_up"))
    last = min(crowd["hung_up_ago_s"] for crowd in crowds)
    return [
        f"strangers {waiting} connections do not say whose they are; {cut} that found no room"
        f" were hung up on, the last {ago(last)} ago. Peers still come in"
    ]


def _whereabouts(silo: dict[str, Any]) -> str:
    """Whether a silo that is waited for is there, and what it does."""
    if silo["self"]:
        return "this node"
    if silo["by_bundle"]:
        return f"comes by bundle, the last one {ago(silo['bundle']['ago_s'])} ago"
    trouble = _trouble(silo)
    if not silo["live"]:
        heard = silo["heard_ago_s"]
        when = (
            "not heard since this node started" if heard is None else f"last heard {ago(heard)} ago"
        )
        if silo["linked"]:
            return f"connected, {trouble or f'and silent: {when}'}"
        return f"not connected, {when}{', ' * bool(trouble)}{trouble}"
    way = "connected" if silo["linked"] else "heard by way of others"
    if silo["activity"] in (None, "idle"):
        return f"{way}, idle"
    return f"{way}, {silo['activity']} round {silo['round']}, {share(silo['done'], silo['total'])}"


def _bundle_lines(silos: list[dict[str, Any]]) -> list[str]:
    """What the silos that come by bundle brought last."""
    return [
        f"bundle    {silo['name']}: {ago(silo['bundle']['ago_s'])} ago,"
        f" {silo['bundle']['records']} new records of it in that of {silo['bundle']['bundle_of']},"
        f" with {silo['bundle']['snapshots']} snapshots that were wanted here"
        for silo in silos
        if silo["by_bundle"]
    ]


def _silo_table(silos: list[dict[str, Any]]) -> str:
    header = ("silo", "link", "bulk", "heard", "does", "progress", "expert", "CI gap", "hold-out")
    return table(header, [_silo_row(silo) for silo in silos])


def _silo_row(silo: dict[str, Any]) -> tuple[object, ...]:
    link = "here" if silo["self"] else "up" if silo["linked"] else "down"
    link = "bundle" if silo["by_bundle"] else link
    busy = silo["activity"] not in (None, "idle")
    metrics = silo["metrics"]
    heard = silo["bundle"]["ago_s"] if silo["by_bundle"] else silo["heard_ago_s"]
    return (
        silo["name"]
        + (" (withdrawn)" if silo["withdrawn"] else "")
        + (" (quarantine)" if silo["quarantined"] else ""),
        link,
        _bulk(silo),
        "-" if silo["self"] else ago(heard),
        silo["activity"],
        share(silo["done"], silo["total"]) if busy else None,
        None if silo["expert_round"] is None else f"round {silo['expert_round']}",
        _figure(metrics.get("ci_gap")),
        _figure(metrics.get("holdout_loss")),
    )


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _coverage_text(coverage: dict[str, Any]) -> str:
    told, silos = coverage["silos_told"], coverage["silos"]
    text = (
        f"coverage  {coverage['observed']} of {coverage['combinations']} combinations are observed"
    )
    if told < silos:
        return f"{text} by the {told} of {silos} silos that said so far what they hold"
    if coverage["missing_values"]:
        values = ", ".join(f"{v['attribute']}={v['value']}" for v in coverage["missing_values"])
        text += f"; seen by no silo: {values}"
    if coverage["combinations_short"]:
        text += f"; {coverage['combinations_short']} more are needed (Eq. 2)"
    return text


def _student_text(latest: dict[str, Any] | None, students: list[dict[str, Any]]) -> str:
    if latest is None:
        final = [student for student in students if student["final"]]
        if final and (gone := final[-1]["superseded"]):
            why = "; ".join(f"{silo} {reason}" for silo, reason in gone.items())
            return f"student   the last is superseded, none is released yet in its place: {why}"
        return "student   none is released yet"
    return (
        f"student   {latest['digest'][:12]} of round {latest['round']}, {latest['outcome']},"
        f" endorsed by {', '.join(latest['endorsed_by'])}"
    )
