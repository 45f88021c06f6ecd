"""`dcfm-node experiment`: the paper's figures and tables, each from one command."""

import shlex
import sys
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import typer

from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import print_json, say, table
from dcfm_node.errors import Failed

app = typer.Typer(
    help="Reproduce the paper's figures and tables; pose your own problems.", no_args_is_help=True
)


@app.command("list")
def list_experiments(as_json: AsJson = False) -> None:
    """What there is to run."""
    from dcfm_node.experiment import settings

    found = [(name, settings.title(name), settings.presets(name)) for name in settings.names()]
    if as_json:
        rows = [{"name": n, "title": t, "presets": list(p)} for n, t, p in found]
        print_json({"schema": "dcfm-node/experiments/1", "experiments": rows})
    else:
        lines = [(n, t, ", ".join(p)) for n, t, p in found]
        say(*table(("name", "what", "presets"), lines).split("\n"))


@app.command("run")
def run_experiment(
    name: Annotated[str, typer.Argument(help="An experiment's name, or the path of a TOML file.")],
    preset: Annotated[str, typer.Option(help="Which of the file's presets.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Short for --preset quick.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 ... N-1; the file's number if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where results go; results/NAME-PRESET if not given.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data that the experiment reads.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Units at once; cores on a CPU, 1 on a GPU.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train, sample and measure every method. Run it again to go on after an interruption."""
    from dcfm_node.experiment import settings

    preset = "quick" if quick else preset
    given = settings.read(name, preset)
    if isinstance(given, settings.Experiment):
        for problem, _ in given.posed.values():
            problem.made.check(data)
    # What is wrong so far is told before torch is loaded, which takes seconds.
    from dcfm_node.experiment import run, show
    from dcfm_node.experiment.progress import Watcher

    request = run.Request(
        experiment=str(Path(name).resolve()) if name.endswith(".toml") else name,
        preset=preset,
        seeds=seeds or given.seeds,
        out=(out or Path("results") / f"{given.name}-{preset}").absolute(),
        data=data,
        device=device,
        jobs=jobs or run.usual_jobs(device),
    )
    command = shlex.join(["dcfm-node", *sys.argv[1:]])
    with Watcher(plain=as_json or not sys.stderr.isatty()) as watcher:
        found = run.run(request, command, watcher.tell)
    written = show.write(request.out, found, given)
    if as_json:
        print_json(found.document())
    else:
        say(*show.summary(found, given).split("\n"))
        say("wrote " + " ".join(map(str, written)))


@app.command("show")
def show_experiment(
    folder: Annotated[Path, typer.Argument(help="A folder that `run` wrote.")],
    as_json: AsJson = False,
) -> None:
    """Print a finished experiment's tables, and draw its pictures again."""
    from dcfm_node.experiment import results, settings, show

    found = results.read(folder)
    if as_json:
        print_json(found.document())
        return
    given = settings.of_results(found.settings)
    try:
        show.write(folder, found, given)
        page = show.page(found, given)
    # Whoever handed the folder on may have left out, or put in, anything of rows and samples.
    except (ArithmeticError, BadZipFile, LookupError, MemoryError, TypeError, ValueError) as error:
        raise Failed(
            f"its rows or samples are not what its settings give: {type(error).__name__}: {error}",
            where=str(folder),
            fix="ask for the whole folder that 'dcfm-node experiment run' wrote",
        ) from error
    except OSError as error:
        what = f"cannot be shown: {error.strerror or error}"
        raise Failed(what, where=str(error.filename or folder)) from error
    say(*page.split("\n"))
