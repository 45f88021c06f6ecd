"""Whether a student is released, and what silos' figures say together (SPEC 6.14)."""

from vectors.common import Json, case
from vectors.plots import Plot

GOOD = {"known_rate": 1.0, "judge_known": 1.0, "novel_rate": 0.75, "judge_rate": 1.0}


def floors() -> list[Json]:
    """Who objects to a final student, and what follows (SPEC 6.14.3)."""
    found = []
    plans: list[tuple[str, Json, int, bool, str]] = [
        ("three measured it at the floor", {"novel_rate": 0.5}, 3, True, "done"),
        ("two did, and three below it", {"novel_rate": 0.5}, 2, False, "done"),
        ("nobody measured it", {"novel_rate": 0.75, "judge_rate": 0.5}, 5, True, "done"),
        ("its known combinations are below", {"known_rate": 0.25}, 0, False, "done"),
    ]
    for name, figures, content, released, stage in plans:
        plot = Plot("fedflow")
        plot.experts(0)
        made = plot.student(1, plot.experts(1), lease=plot.lead(1, 1), final=True)
        for silo in range(5 if content < 3 else content):
            below = {"novel_rate": 0.25} if content and silo >= content else figures
            plot.endorse(made, silo, **GOOD | below)
        facts = {"released": made.hex() if released else None, "phase": [stage, 1]}
        found.append(plot.told(name, "6.14.3", **facts))
    plot = Plot("fedflow")
    plot.experts(0)
    made = plot.student(1, plot.experts(1), lease=plot.lead(1, 1), final=True)
    plot.endorse(made, 0, 1, **GOOD)
    plot.endorse(made, 2, **GOOD | {"novel_rate": 0.25})
    plot.endorse(made, 2, **GOOD)
    facts = {"released": None, "phase": ["release", 1]}
    found.append(plot.told("one corrects its figures", "6.1.1", **facts))
    plot.refuse(made, 3)
    plot.endorse(made, 4, **GOOD | {"judge_known": 0.25})
    facts = {"released": None, "phase": ["done", 1]}
    return [*found, plot.told("one refuses, and two measured it below", "6.14.3", **facts)]


def qualities() -> list[Json]:
    """What figures of several silos say together (SPEC 6.14.2); the quorum is 2."""
    plans: list[tuple[str, list[Json], Json, Json]] = [
        ("two silos", [GOOD, GOOD | {"novel_rate": 1.0}], [1.0, 1.0, 1.0], [0.75, 0.75, 0.75]),
        ("one silo", [GOOD], None, None),
        ("doubt", [GOOD | {"judge_rate": 0.75, "novel_error": 0.125}] * 2, [1.0] * 3, None),
        ("no trust", [GOOD | {"judge_rate": 0.5}] * 2, [1.0] * 3, None),
        ("far", [GOOD | {"known_distance": 0.6, "known_error": 0.125}] * 2, None, [0.75] * 3),
        ("real ones misread", [GOOD | {"judge_known": 0.5}] * 2, [0.5] * 3, [0.75] * 3),
    ]
    plans[2] = (*plans[2][:3], [0.75, 0.3125, 1.0])
    plans[4] = (*plans[4][:2], [0.5, 0.25, 0.75], plans[4][3])
    return [
        case(
            name,
            "6.14.2",
            figures=[{k: {"$float": repr(v)} for k, v in of.items()} for of in told],
            known=known and [{"$float": repr(v)} for v in known],
            novel=novel and [{"$float": repr(v)} for v in novel],
        )
        for name, told, known, novel in plans
    ]
