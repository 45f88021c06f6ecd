"""What the page's script derives: bounded, whatever the documents say."""

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import dcfm_node.page

DERIVED = Path(dcfm_node.page.__file__).parent / "static" / "derived.js"
NODE = shutil.which("node")


def derived(expression: str) -> Any:
    """The value of an expression over the module, `d`."""
    if NODE is None:
        pytest.skip("no JavaScript engine is installed: apt install nodejs")
    module = base64.b64encode(DERIVED.read_bytes()).decode()
    script = (
        f"import * as d from 'data:text/javascript;base64,{module}';"
        f"console.log(JSON.stringify({expression}))"
    )
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ticks_end_where_numbers_cannot_tell_the_step() -> None:
    assert derived("d.ticks(0, 1, 5)") == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert derived("d.ticks(3, 3, 5)") == [3]
    assert len(derived("d.ticks(1, 1 + Number.EPSILON, 5)")) <= 50
    assert len(derived("d.ticks(1e16, 1e16 + 2, 5)")) <= 50
    assert len(derived("d.ticks(-1e308, 1e308, 5)")) <= 50


def test_each_student_is_once_in_the_tree_however_experts_were_mixed() -> None:
    """Every expert of a round refined from both students of the one before."""
    made = """(() => {
      const known = new Map(), rounds = 30;
      for (let r = 0; r <= rounds; r += 1) for (const k of ["a", "b"]) {
        const parents = r ? [`s${r - 1}a`, `s${r - 1}b`] : [];
        known.set(`e${r}${k}`, { digest: `e${r}${k}`, kind: "expert", parents });
        const teachers = ["a", "b"].map((t) => ({ digest: `e${r}${t}` }));
        known.set(`s${r}${k}`, { digest: `s${r}${k}`, kind: "student", teachers });
      }
      const count = (one) => 1 + one.older.map(count).reduce((x, y) => x + y, 0);
      return count(d.ancestry(known.get(`s${rounds}a`), known));
    })()"""
    assert derived(made) == 1 + 2 * 30


def test_what_follows_from_a_problem_is_counted_behind_it() -> None:
    problems = [
        {"code": "peer-silent", "subject": "east", "follows": None},
        {"code": "data-alike", "subject": "this node", "follows": None},
        {
            "code": "link-down",
            "subject": "east",
            "follows": {"code": "peer-silent", "subject": "east"},
        },
    ]
    found = derived(f"d.causes({json.dumps(problems)})")
    assert [(p["code"], len(p["hence"])) for p in found] == [("peer-silent", 1), ("data-alike", 0)]
