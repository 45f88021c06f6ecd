"""A film of an executed plan, as the simulator's front camera sees it. Needs the extra `robots`.

`python -m dcfm_node.domains.robots.film OUT` renders in a process of its own: MuJoCo chooses its
OpenGL when it is imported, and a machine without one must still execute plans.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dcfm_node.domains.robots import plan
from dcfm_node.domains.robots.plan import Array
from dcfm_node.errors import Failed
from dcfm_node.files import replacing

BACKENDS = ("egl", "osmesa")
"""Ways to render without a screen, the faster first; the environment's MUJOCO_GL goes before."""
COLOURS, PALETTE = 128, 6
"""Colours of a film, which are chosen from every sixth frame. 24 frames take about 150 kB."""
HOLD_MS = 1_500
"""How long the last frame is shown."""
LIMIT_S = 300.0
"""Most time that one way of rendering may take."""
LINE, GOAL = (0.25, 0.25, 0.25, 1.0), (0.3, 0.75, 0.3, 0.35)
"""Colours of the quadrants' borders, and of the quadrant that the cube shall reach."""
FIX = "install Mesa (Debian: apt-get install libegl1 libgl1-mesa-dri), then run it again"


def film(states: Sequence[Array], quadrant: int, out: Path, *, frame_s: float) -> None:
    """Write a GIF of what happened.

    Args:
        states: of the arm, in turn (`execution.Arm.keep`).
        quadrant: index of the one that the cube shall reach, which is shown green.
        frame_s: time between two states.

    Raises:
        Failed: this machine cannot render.
    """
    with BytesIO() as buffer:
        np.lib.format.write_array(buffer, np.stack(list(states)), allow_pickle=False)
        sent = buffer.getvalue()
    wish = os.environ.get("MUJOCO_GL")
    told = ""
    for backend in (wish,) if wish else BACKENDS:
        command = [sys.executable, "-m", __name__, json.dumps([quadrant, frame_s])]
        environment = os.environ | {"MUJOCO_GL": backend}
        try:
            done = subprocess.run(
                command,
                input=sent,
                capture_output=True,
                env=environment,
                timeout=LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            told = told or f"it took more than {LIMIT_S:.0f} s"
            continue
        if done.returncode == 0 and done.stdout.startswith(b"GIF"):
            out.parent.mkdir(parents=True, exist_ok=True)
            with replacing(out) as scratch:
                scratch.write_bytes(done.stdout)
            return
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        told = told or (lines[-1] if lines else f"exit code {done.returncode}")
    tried = f"MUJOCO_GL={wish}" if wish else f"tried {' and '.join(BACKENDS)}"
    raise Failed(f"OpenGL does not work here ({tried}): {told}", where=str(out), fix=FIX)


def frames(states: Array, quadrant: int) -> list[NDArray[np.uint8]]:
    """What the camera sees in each state, (height, width, 3), with the quadrants on the table."""
    import mujoco  # noqa: F401 - first, so that it has OpenGL

    from dcfm_node.domains.robots.execution import Arm

    arm, pictures = Arm(), []
    for state in states:
        arm.resume(state)
        pictures.append(arm.picture(lambda scene: _mark(scene, quadrant)))
    return pictures


def encoded(pictures: Sequence[NDArray[np.uint8]], frame_s: float) -> bytes:
    """Pictures as a GIF that repeats, and rests at the end."""
    every = [Image.fromarray(picture) for picture in pictures]
    # One palette for all: what does not move stays the same, and takes no room.
    together = Image.fromarray(np.concatenate(list(pictures[::PALETTE])))
    palette = together.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    first, *rest = (one.quantize(palette=palette, dither=Image.Dither.NONE) for one in every)
    lasts = [round(1_000 * frame_s)] * len(rest) + [HOLD_MS]
    with BytesIO() as buffer:
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=lasts, loop=0)
        return buffer.getvalue()


def _mark(scene: Any, quadrant: int) -> None:
    """Add the borders of the quadrants to a scene, and the one that the cube shall reach."""
    (low_x, low_y), (high_x, high_y) = plan.TABLE
    x, y = plan.CENTRE
    below, right = divmod(quadrant, 2)
    thin = 0.002
    _box(scene, (low_x, y), (high_x, y), thin, LINE)
    _box(scene, (x, low_y), (x, high_y), thin, LINE)
    for one, other in (
        ((low_x, low_y), (high_x, low_y)),
        ((low_x, high_y), (high_x, high_y)),
        ((low_x, low_y), (low_x, high_y)),
        ((high_x, low_y), (high_x, high_y)),
    ):
        _box(scene, one, other, thin, LINE)
    corner = (x if below else low_x, y if right else low_y)
    opposite = (high_x if below else x, high_y if right else y)
    _box(scene, corner, opposite, 0.0, GOAL)


def _box(
    scene: Any,
    corner: Sequence[float],
    opposite: Sequence[float],
    more: float,
    colour: Sequence[float],
) -> None:
    """Add a flat box on the table between two corners, on each side by so much larger."""
    import mujoco

    low, high = np.array(corner), np.array(opposite)
    scene.ngeom += 1
    mujoco.mjv_initGeom(
        scene.geoms[scene.ngeom - 1],
        mujoco.mjtGeom.mjGEOM_BOX,
        np.array([*((high - low) / 2 + more), 0.0005]),
        np.array([*((high + low) / 2), 0.001]),
        np.eye(3).flatten(),
        np.array(colour, np.float32),
    )


def main() -> None:
    """Read states from stdin, and write a film to stdout."""
    out = os.dup(1)
    os.dup2(2, 1)  # packages greet on stdout
    quadrant, frame_s = json.loads(sys.argv[1])
    states = np.lib.format.read_array(BytesIO(sys.stdin.buffer.read()), allow_pickle=False)
    with os.fdopen(out, "wb") as stream:
        stream.write(encoded(frames(states, quadrant), frame_s))


if __name__ == "__main__":
    main()
