"""What `domain run` does: a student plans, the simulated robot executes, and the answer."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dcfm_node.api.domains import DomainRun, Executed, ExecutedPlans, Share
from dcfm_node.cli.output import ago, table
from dcfm_node.cli.progress import Progress
from dcfm_node.domains import base as domains
from dcfm_node.domains.shares import wilson
from dcfm_node.errors import ConfigError, Failed
from dcfm_node.samples import Floats, Samples, unit

if TYPE_CHECKING:
    from dcfm_node.domains.robots.rollouts import Rollouts
    from dcfm_node.flow.inpainting import Given
    from dcfm_node.student.loaded import Drawn, Student

PICTURE, FILM = "paths.png", "cube.gif"
NEAR, NEARER = 0.04, 0.02
"""Distances of the cube from its goal that count as success, m."""
TELL_STEPS = 47
"""Control steps between two words about progress."""


def student_of(folder: Path) -> "Student":
    """The verified student of a folder, if its run is of the cube robot.

    Raises:
        ConfigError: it is of another domain.
        Failed: the folder holds no verified student.
    """
    from dcfm_node.student.loaded import load_student

    student = load_student(folder)
    fix = 'give a student of a run whose [domain] is kind = "cube"'
    kind = student.manifest.domain.kind
    if kind != "cube":
        what = f"the student draws samples of the domain {kind!r}, which the robot cannot execute"
        raise ConfigError(what, where=str(folder), fix=fix)
    try:
        domains.of(student.manifest).attributes(student.manifest.attributes)
    except ValueError as error:
        raise ConfigError(str(error), where=str(folder), fix=fix) from error
    return student


def check_out(out: Path, student: "Student", *, force: bool) -> None:
    """Check, before anything is drawn, that pictures can be written.

    Raises:
        Failed: one of them exists.
        UserError: a package is missing.
    """
    domains.of(student.manifest).check_packages()
    for name in (PICTURE, FILM):
        if (out / name).exists() and not force:
            fix = "name another folder, or replace what it holds with --force"
            raise Failed("the file exists already", where=str(out / name), fix=fix)


def run(
    student: "Student",
    chosen: dict[int, int],
    *,
    plans: int,
    seed: int,
    guidance: float | tuple[float, float] | None,
    out: Path | None,
) -> DomainRun:
    """Draw plans of every chosen combination, execute them in two ways, and write pictures.

    Args:
        plans: of each combination.
        out: folder of the pictures; None writes none.
    """
    import torch

    from dcfm_node.domains.robots import execution, rollouts
    from dcfm_node.student.asked import asked_for, plainly

    asked = plainly(asked_for(student.manifest, chosen))
    began, many = time.monotonic(), plans * len(asked)
    drawing_s: list[float] = []

    def draw(given: "Given | None" = None) -> "Drawn":
        start = time.monotonic()
        found = student.draw(asked, n=many, seed=seed, guidance=guidance, given=given)
        drawing_s.append((time.monotonic() - start) / many)
        return found

    drawn, inpainter = draw(), student.inpainter(guidance=guidance)

    def redraw(mask: NDArray[np.bool_], values: Floats) -> Floats:
        return draw(inpainter.given(torch.from_numpy(mask), torch.from_numpy(values))).x

    arm, samples = execution.Arm(), drawn.samples
    told = _progress(samples)
    planner = rollouts.by_planner(arm, samples, redraw, told(0))
    commands = rollouts.by_commands(arm, samples, told(1))
    seconds = time.monotonic() - began
    written, missing = ((), ()) if out is None else _pictures(drawn, planner, out)
    novel = set(drawn.novel_combinations)
    which = np.array([tuple(row) in novel for row in samples.c.tolist()], np.bool_)
    return DomainRun(
        domain="cube",
        digest=student.digest,
        seed=seed,
        plans=many,
        drawing_s=round(min(drawing_s), 5),
        seconds=round(seconds, 1),
        attributes=tuple(student.attributes),
        combinations=tuple(
            ExecutedPlans(
                **_executed((samples.c == one).all(axis=1), planner, commands).model_dump(),
                values=tuple(
                    attribute.values[value]
                    for attribute, value in zip(student.manifest.attributes, one, strict=True)
                ),
                novel=one in novel,
            )
            for one in samples.combinations
        ),
        known=None if which.all() else _executed(~which, planner, commands),
        novel=_executed(which, planner, commands) if which.any() else None,
        files=written,
        missing=missing,
    )


def text_of(found: DomainRun) -> str:
    """The answer as text."""
    rows = [
        (
            *one.values,
            "novel" if one.novel else "known",
            one.feasible.of,
            *map(_counted, (one.feasible, one.success, one.success_2cm)),
        )
        for one in found.combinations
    ]
    kinds = {"known": found.known, "novel": found.novel}
    sums = {name: one for name, one in kinds.items() if one is not None}
    header = ("", "plans", "feasible", "within 4 cm", "2 cm", "tracked 4 cm", "2 cm")
    totals = [
        (
            f"all {name}",
            one.feasible.of,
            *map(_percent, (one.feasible, one.success, one.success_2cm)),
            *map(_percent, (one.tracked, one.tracked_2cm)),
        )
        for name, one in sums.items()
    ]
    heads = (*found.attributes, "", "plans", "feasible", "within 4 cm", "within 2 cm")
    lines = [
        table(heads, rows),
        "",
        table(header, totals),
        "",
        "Shares of all plans, with 95 % intervals. A plan that is not feasible is not executed.",
        "within 4 cm: the planner, which plans again as the arm moves, led the cube to its goal;",
        "tracked: the plan's own commands did.",
        f"drawn in {found.drawing_s:.3g} s a plan; {found.plans} drawn and executed twice in"
        f" {ago(found.seconds)}",
        *(f"wrote {name}" for name in found.files),
        *found.missing,
    ]
    return "\n".join(lines)


def filmed(samples: Samples, planner: "Rollouts", novel: NDArray[np.bool_]) -> int | None:
    """Which plan to film: of those that were executed, a novel one before a known one, then one
    that reached its goal and its quadrant; None if none was executed."""
    from dcfm_node.domains.robots import plan

    def rank(row: int) -> tuple[bool, bool, bool, float]:
        path = planner.paths[row]
        there = path is not None and plan.quadrant(path[-1]) == samples.c[row, 1]
        off = float(planner.off[row])
        return not novel[row], not off < NEAR, not there, off

    return min(np.flatnonzero(planner.feasible).tolist(), key=rank, default=None)


def _executed(rows: NDArray[np.bool_], planner: "Rollouts", commands: "Rollouts") -> Executed:
    def share(of: NDArray[np.bool_]) -> Share:
        count, all_ = int(of[rows].sum()), int(rows.sum())
        low, high = wilson(count, all_)
        return Share(
            count=count, of=all_, share=count / max(all_, 1), low=round(low, 4), high=round(high, 4)
        )

    return Executed(
        feasible=share(planner.feasible),
        success=share(planner.reached(NEAR)),
        success_2cm=share(planner.reached(NEARER)),
        tracked=share(commands.reached(NEAR)),
        tracked_2cm=share(commands.reached(NEARER)),
    )


def _pictures(
    drawn: "Drawn", planner: "Rollouts", out: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write the paths and the film. Returns files, and what is missing."""
    from dcfm_node.domains.robots import film, plan, rollouts, views
    from dcfm_node.domains.space import Space
    from dcfm_node.files import replacing

    samples = drawn.samples
    paths, reached = views.planned(unit(samples.x)), planner.reached(NEAR)
    shown = {}
    for one in samples.combinations:
        rows = np.flatnonzero((samples.c == one).all(axis=1))
        shown[one] = views.View(paths[rows], reached[rows], [planner.paths[row] for row in rows])
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / PICTURE) as scratch:
        space = Space(drawn.manifest.attributes, drawn.novel_combinations)
        views.sheet(space, shown).save(scratch, format="PNG")
    if (row := filmed(samples, planner, drawn.novel)) is None:
        why = f"no {FILM}: no plan is feasible; give more --plans, or other values with --where"
        return (str(out / PICTURE),), (why,)
    try:
        destination = int(samples.c[row, 1])
        frame_s = rollouts.THINNED / plan.RATE
        film.film(planner.states[row], destination, out / FILM, frame_s=frame_s)
    except Failed as error:
        return (str(out / PICTURE),), (f"no {FILM}: {error.what}; {error.fix}",)
    return (str(out / PICTURE), str(out / FILM)), ()


def _progress(samples: Samples) -> Callable[[int], Callable[[int], None]]:
    """Tells of the steps of both executions."""
    from dcfm_node.domains.robots import execution, plan

    each = execution.STEPS + execution.SETTLE
    executed = int(plan.feasible(unit(samples.x), samples.c).sum())
    total = 2 * each * executed
    progress = Progress(total)

    def of(part: int) -> Callable[[int], None]:
        def tell(done: int) -> None:
            now = part * total // 2 + done
            if now % TELL_STEPS == 0 or now == total:
                progress.tell(now, f"executing {executed} plans twice: {100 * now // total} %  ")

        return tell

    return of


def _counted(one: Share) -> str:
    return f"{one.count} ({100 * one.low:.0f} to {100 * one.high:.0f} %)"


def _percent(one: Share) -> str:
    return f"{100 * one.share:.0f} % ({100 * one.low:.0f} to {100 * one.high:.0f})"
