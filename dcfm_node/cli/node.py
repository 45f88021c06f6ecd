"""Commands that make and run a node: init, id, start, demo."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from dcfm_node.api.commands import DemoPrepared, NodeId, NodeMade, PeerBlock
from dcfm_node.cli.options import DEFAULT_CONFIG, AsJson, Config
from dcfm_node.cli.output import answer, print_json, say
from dcfm_node.cli.startlog import failures_logged
from dcfm_node.errors import Failed

if TYPE_CHECKING:
    from dcfm_node.config.pairing import Home

Data = Annotated[
    Path | None,
    typer.Option(
        help="The private data: an .npz archive, a .csv table of numbers or of pictures' names,"
        " a folder of pictures, the images of an IDX pair, a folder in the layout of LeRobot, a"
        " cube robot's episodes (.npz), a folder of radiographs in the layout of the NIH, or texts:"
        " a .csv table with a column 'text', or a .txt file."
    ),
]
Attributes = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        help="The attributes in the data; default: by rule. Of a .txt file: A=VALUE,B=VALUE.",
    ),
]
Names = Annotated[
    str,
    typer.Option(
        metavar="PATTERN",
        help="How names of pictures give labels: {shape}_{colour}_* for square_red_17.png.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the app."""
    app.command()(init)
    app.command("id")(show_id)
    app.command()(start)
    app.command()(demo)


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    name: Annotated[str, typer.Option(help="This silo's name; default: the folder's.")] = "",
    data: Data = None,
    attributes: Attributes = "",
    names: Names = "",
    advertise: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Where peers reach this node; port 7400.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Make a node: its keys, a commented node.toml and run.toml.

    With --data, reads the private data once and shows what it found. node.toml then names the data,
    and run.toml has the shape of a sample and the attributes with the values that occur at this
    site; 'dcfm-node run merge' joins those of all sites. Episodes and radiographs are counted, not
    read: run.toml is then the shipped one of their domain. Nothing is sent anywhere. Without --data
    both files are examples to edit.

    The node listens on TCP ports 7400 (control) and 7401 (bulk), or, with --advertise HOST:PORT, on
    PORT and the next. Open both in the firewall for peers. Without --advertise, write under
    [advertise] the host and ports at which peers reach them.

    A node behind NAT or a closed firewall needs no open port. Remove [listen] and [advertise]: the
    node then only dials out, to peers that advertise addresses, and still takes full part. Two
    nodes that only dial out exchange everything through other nodes.

    Exit codes: 0 made; 1 the folder holds a node, or cannot be written; 2 an option or the data is
    wrong, and nothing was made.
    """
    from dcfm_node.cli.found import found_data, found_files, found_in, made_text, site_run
    from dcfm_node.config.addresses import host_and_port
    from dcfm_node.config.keys import create_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.config.template import node_text, run_template
    from dcfm_node.data.known import Known
    from dcfm_node.data.survey import Survey

    settings, run = folder / "node.toml", folder / "run.toml"
    if settings.exists():
        raise Failed(
            "the folder already holds a node",
            where=str(folder),
            fix="name another folder, or edit its node.toml",
        )
    named = tuple(name.strip() for name in attributes.split(",")) if attributes else ()
    found = found_in(data, named, names or None) if data is not None else None
    address = host_and_port(advertise, 7400) if advertise else None
    text = node_text(name or folder.absolute().name, found.spec if found else None, address)
    folder.mkdir(parents=True, exist_ok=True)
    create_keys(folder / "keys")
    settings.write_text(text)
    if not run.exists():
        run.write_text(site_run(found) if found else run_template())
    load_node(settings)
    made = NodeMade(
        folder=str(folder),
        config=str(settings),
        run=str(run),
        advertised=address is not None,
        data=found_data(data, found) if data and isinstance(found, Survey) else None,
        files=found_files(data, found) if data and isinstance(found, Known) else None,
    )
    answer(made, as_json, made_text)


def show_id(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Print the [[peer]] block that the other sites add to their peers.toml."""
    from dcfm_node.config.keys import load_keys
    from dcfm_node.config.node import load_node
    from dcfm_node.config.peers import own_peer, peer_block

    settings = load_node(config)
    peer = own_peer(settings, load_keys(settings.keys))
    block = PeerBlock(
        name=peer.name,
        sign_key=peer.sign_key.hex(),
        link_key=peer.link_key,
        control=peer.control,
        bulk=peer.bulk,
        handover=peer.handover.hex() if peer.handover is not None else None,
    )
    answer(NodeId(peer=block), as_json, lambda _: peer_block(peer))
    if settings.listen.control is not None and settings.advertise.control is None:
        say(
            f"dcfm-node: {config} has [listen] but not [advertise], so peers cannot dial this node;"
            " it must dial them",
            err=True,
        )


def start(
    peers: Annotated[
        Path | None,
        typer.Option(help="The peers.toml; default: the one beside node.toml."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    run: Annotated[
        Path | None, typer.Option(help="The run's settings; default: run.toml beside node.toml.")
    ] = None,
    pair: Annotated[
        bool, typer.Option("--pair", help="Only pair with other sites; take part in no run yet.")
    ] = False,
) -> None:
    """Take part in a run until stopped. A later start continues where this one stopped.

    While peers.toml has no other site, the node takes part in no run: it waits for peers, which
    'dcfm-node invite' and 'dcfm-node join' find.
    """
    with failures_logged(config):
        _take_part(config, peers, run, pair=pair)


def _take_part(config: Path, peers: Path | None, run: Path | None, *, pair: bool) -> None:
    import asyncio

    from dcfm_node.config.pairing import home
    from dcfm_node.config.peers import load_peers, own_peer
    from dcfm_node.config.roster import named_roster
    from dcfm_node.config.run import load_features, load_run
    from dcfm_node.store.archive import last_run
    from dcfm_node.swarm.succession import begins_anew
    from dcfm_node.wire.envelope import run_id

    here = home(config, peers, run)
    settings, keys, run = here.config, here.keys, here.run
    if pair or (not named_roster(run) and not (peers and not peers.exists()) and not here.listed()):
        _only_pair(here)
        return
    settings.data.check_paths()
    peers = here.peers
    me, others = own_peer(settings, keys), load_peers(peers)
    manifest = load_run(run, others, me, listed=peers)
    if not [peer for peer in others if peer.sign_key != me.sign_key]:
        say(
            f"dcfm-node: {peers} lists no other node, so this is a run of one silo, with nobody to"
            " learn from. Collect the blocks that 'dcfm-node id' prints at all sites in it",
            err=True,
        )
    elif me.name not in {peer.name for peer in others}:
        say(
            f"dcfm-node: {peers} does not list this node, {me.name!r}. The other sites refuse it"
            " unless their peers.toml lists it: send them what 'dcfm-node id' prints",
            err=True,
        )
    if (before := last_run(settings.state)) is not None and begins_anew(before, manifest):
        say(
            f"dcfm-node: this node was last in run {run_id(before).hex()[:16]} of {before.name!r};"
            f" {run} and {peers} make run {run_id(manifest).hex()[:16]}, which does not continue it"
            " and starts from nothing. To continue it with other peers, keys or settings, use"
            " 'dcfm-node run continue'",
            err=True,
        )
    # Until the daemon takes the signal over, nothing runs that would have to end first.
    signal.signal(signal.SIGTERM, _stopped)
    # Errors in the files are reported before the daemon is loaded, which takes seconds.
    from dcfm_node.daemon.compose import run as take_part
    from dcfm_node.daemon.limits import Settings
    from dcfm_node.daemon.logs import configure

    configure(settings.log.format, settings.log.level)
    features = load_features(run)
    asyncio.run(take_part(Settings(settings, keys, others, manifest, run, features, config, here)))


def _only_pair(here: "Home") -> None:
    """Wait for peers, without a run."""
    import asyncio

    from dcfm_node.daemon.logs import configure
    from dcfm_node.daemon.standby import wait

    if not here.listed():
        say(
            f"dcfm-node: {here.peers} has no other site yet, so this node takes part in no run and"
            " waits for peers",
            "  next: 'dcfm-node invite' here and 'dcfm-node join CODE' at another site, then"
            " 'dcfm-node peers approve NAME' at both",
            err=True,
        )
    configure(here.config.log.format, here.config.log.level)
    asyncio.run(wait(here))


def _stopped(number: int, frame: object) -> NoReturn:
    say("dcfm-node: a signal ended the node while it was starting", err=True)
    raise SystemExit(0)


def demo(
    domain: Annotated[
        str, typer.Option(help="digits, gaussians, cube (robots) or chest-xray (radiographs).")
    ] = "digits",
    schedule: Annotated[str, typer.Option(help="alternating or paper.")] = "alternating",
    out: Annotated[Path, typer.Option(help="Folder for the nodes and the report.")] = Path(
        "demo-out"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random choices.")] = 0,
    silos: Annotated[
        int | None, typer.Option(help="Number of nodes, 2 to 8; default 3. cube has 4.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of radiographs, for chest-xray: NIH ChestX-ray14's layout."),
    ] = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Write the nodes' folders, but do not start them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run real nodes on this machine. Their student then draws combinations that no silo has."""
    from dcfm_node.demo.stage import Wish, called, silos_of

    silos = silos_of(domain) if silos is None else silos
    if prepare:
        from dcfm_node.demo import live
        from dcfm_node.demo.run import staged

        wish = Wish(domain, schedule, seed, silos, data=data)
        stage = staged(out, wish, live.screen(stderr=as_json))
        commands = [
            f"{called()} start --peers {stage.peers} --run {stage.run} --config {node.config}"
            for node in stage.nodes
        ]
        prepared = DemoPrepared(out=str(out), start=tuple(commands))
        answer(
            prepared, as_json, lambda found: "\n".join(["one command per terminal:", *found.start])
        )
        return
    from dcfm_node.demo.run import run_demo

    report = run_demo(
        domain=domain,
        schedule=schedule,
        out=out,
        seed=seed,
        silos=silos,
        json_output=as_json,
        data=data,
    )
    if as_json:
        print_json(report.plain())
