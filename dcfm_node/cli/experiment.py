"""`dcfm-node experiment`: makes each of the paper's figures and tables with one command."""

import shlex
import sys
from pathlib import Path
from typing import Annotated
from zipfile import BadZipFile

import typer

from dcfm_node.api.experiments import Experiments, ListedExperiment
from dcfm_node.cli.options import AsJson
from dcfm_node.cli.output import answer, print_json, say, table
from dcfm_node.errors import Failed
from dcfm_node.words import plain

app = typer.Typer(
    help="Reproduce the paper's figures and tables, or run your own experiments.",
    no_args_is_help=True,
)


@app.command("list")
def list_experiments(as_json: AsJson = False) -> None:
    """List the experiments that come with the package."""
    from dcfm_node.experiment import settings

    found = (
        ListedExperiment(name=n, title=settings.title(n), presets=tuple(settings.presets(n)))
        for n in settings.names()
    )
    answer(Experiments(experiments=tuple(found)), as_json, _listed_text)


def _listed_text(found: Experiments) -> str:
    rows = [(given.name, given.title, ", ".join(given.presets)) for given in found.experiments]
    return table(("name", "what", "presets"), rows)


@app.command("run")
def run_experiment(
    name: Annotated[str, typer.Argument(help="An experiment's name, or the path of a TOML file.")],
    preset: Annotated[str, typer.Option(help="One of the experiment's presets.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Short for --preset quick.")] = False,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Run seeds 0 to N-1; default: the preset's number.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: results/NAME-PRESET.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder with the data that the experiment reads.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Parallel processes; default: one per core, or 1 on a GPU."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train, sample and measure every method. After an interruption, run it again to continue."""
    from dcfm_node.experiment import settings

    preset = "quick" if quick else preset
    given = settings.read(name, preset)
    if isinstance(given, settings.Experiment):
        for problem, _ in given.posed.values():
            problem.made.check(data)
    # Mistakes in the file are reported before torch is loaded, which takes seconds.
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
    wrote = plain(" ".join(map(str, written)))
    answer(found.document(), as_json, lambda _: f"{show.summary(found, given)}\nwrote {wrote}")


@app.command("show")
def show_experiment(
    folder: Annotated[Path, typer.Argument(help="A folder that 'run' wrote.")],
    as_json: AsJson = False,
) -> None:
    """Print an experiment's tables, of the rows so far, and draw its pictures again."""
    from dcfm_node.experiment import results, settings, show

    found = results.read(folder)
    if as_json:
        print_json(found.document().plain())
        return
    given = settings.of_results(found.settings)
    try:
        show.write(folder, found, given)
        page = show.page(found, given)
    # The folder may come from others, who may have removed or changed any row or sample.
    except (ArithmeticError, BadZipFile, LookupError, MemoryError, TypeError, ValueError) as error:
        raise Failed(
            f"its rows or samples do not fit its settings: {type(error).__name__}: {error}",
            where=str(folder),
            fix="ask for the whole folder that 'dcfm-node experiment run' wrote",
        ) from error
    except OSError as error:
        what = f"cannot be shown: {error.strerror or error}"
        raise Failed(what, where=str(error.filename or folder)) from error
    say(*page.split("\n"))
