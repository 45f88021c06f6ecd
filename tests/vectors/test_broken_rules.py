"""scripts/broken_rules.txt breaks rules that are there; scripts/break_readers tries them all."""

import ast
import sys

from tests.packaging.tree import PACKAGE, ROOT


def test_every_change_of_the_table_makes_another_program(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from vectors.broken import broken_rules

    rules = list(broken_rules())
    assert len(rules) > 300
    for rule in rules:
        source = (PACKAGE / rule.file).read_text(encoding="utf-8")
        assert rule.applied(source) != source, rule.name
        ast.parse(rule.applied(source))
    sys.modules.pop("vectors.broken", None)
