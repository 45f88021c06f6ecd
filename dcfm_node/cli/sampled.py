"""What `student sample` drew, as a document and as text, and its progress."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dcfm_node.api.students import Expected, Sampled
from dcfm_node.cli.output import rewrite

if TYPE_CHECKING:
    from dcfm_node.student.columns import Columns
    from dcfm_node.student.loaded import Drawn, Student

QUICK_S = 1.0
"""What is drawn within so many seconds shows no progress."""


def document(student: "Student", drawn: "Drawn", out: Path, columns: "Columns | None") -> Sampled:
    """The document of samples in a file."""
    used = drawn.manifest.method.guidance
    novel = set(drawn.combinations) & set(drawn.novel_combinations)
    shown = set(drawn.samples.combinations)
    unseen = [
        f"{name}={value}"
        for name, value in student.unseen_values
        if value in set(drawn[name].tolist())
    ]
    return Sampled(
        count=len(drawn),
        out=str(out),
        combinations=len(shown),
        novel=len(novel),
        all_novel=novel == shown,
        unseen=tuple(unseen),
        expected=Expected.of(student.expected, student.manifest.policy.novel_floor),
        columns=columns.names if columns is not None else (),
        columns_from=columns.origin if columns is not None else "",
        guidance_known=used.known,
        guidance_novel=used.novel,
    )


def sampled_text(found: Sampled, *, possible: int, guided_by: str) -> str:
    """What was drawn, as text.

    Args:
        possible: number of combinations that were asked for.
    """
    from dcfm_node.student.columns import Columns

    columns = Columns(found.columns, found.columns_from)
    return "\n".join(
        [
            f"wrote {found.count} samples to {found.out}{guided_by}",
            f"samples   {_shared(found.count, possible, found.novel)}",
            *([columns.summary] if columns.names else []),
            *([_expected(found)] if found.novel else []),
            *(
                f"unseen    no silo holds {value}: the student cannot know it"
                for value in found.unseen
            ),
        ]
    )


def _expected(found: Sampled) -> str:
    """What draws are expected to be worth, of which some are novel."""
    if found.unseen and found.all_novel:
        return "expected  right draws: unknown, because no silo holds a value of what was drawn"
    novel = None if found.expected.awaited else found.expected.novel
    if found.all_novel and novel is not None:
        share = f"{novel.value:.0%} ({novel.low:.0%} to {novel.high:.0%})"
        below = f", below the floor of {found.expected.floor:.0%}"
        return f"expected  right draws: novel combinations {share}" + below * found.expected.below
    return f"expected  right draws: {found.expected.text}"


def progress_of(count: int, as_json: bool) -> Callable[[float], None] | None:
    """Shows on a terminal how many samples are drawn; None where nobody looks."""
    if as_json or not sys.stderr.isatty():
        return None
    begun, shown = time.monotonic(), -1

    def show(done: float) -> None:
        nonlocal shown
        percent = int(100 * done)
        if percent == shown or time.monotonic() - begun < QUICK_S:
            return
        shown = percent
        rewrite(f"drawing {count} samples: {percent} %  ", last=done >= 1.0)

    return show


def _shared(count: int, possible: int, novel: int) -> str:
    """How samples are shared among combinations, in words.

    Args:
        count: of samples, in all.
        possible: number of combinations that were asked for.
        novel: how many of those that are drawn are novel.
    """
    each, some = divmod(count, possible)
    many = f"{each} or {each + 1}" if some else f"{each}"
    if possible == 1:
        return f"all of one combination, which is {'novel' if novel else 'trained on'}"
    if not each:
        return (
            f"1 each of the first {count} of {possible} combinations, {novel} of them novel; -n"
            f" counts samples in all: give -n {possible} or more for all combinations"
        )
    return f"{many} of each of {possible} combinations, {novel} of them novel"
