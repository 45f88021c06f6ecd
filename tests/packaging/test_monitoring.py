"""configs/monitoring: rules and a dashboard that name only metrics that exist."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from dcfm_node.api.problems import Code
from dcfm_node.page.metrics import METRICS, exposed
from tests.packaging.tree import ROOT

FOLDER = ROOT / "configs" / "monitoring"
RULES = FOLDER / "alerts.yml"
DASHBOARD = FOLDER / "dashboard.json"
NAMES = {exposed(name) for name in METRICS}
SAMPLE = re.compile(r"\b(dcfm_\w+)(?:\{([^}]*)\})?")


def rules() -> list[dict]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> list[str]:
    found = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in found["panels"] for target in panel["targets"]]
    variables = [v["query"]["query"] for v in found["templating"]["list"] if v["type"] == "query"]
    return asked + variables


def labels_of(name: str) -> set[str]:
    return set(METRICS[name if name in METRICS else name.removesuffix("_total")].labels)


@pytest.mark.parametrize(
    "query", [*(rule["expr"] for rule in rules()), *queries()], ids=lambda text: text[:50]
)
def test_every_metric_and_label_that_is_asked_for_exists(query: str) -> None:
    asked = SAMPLE.findall(query)
    assert asked
    for name, chosen in asked:
        assert name in NAMES
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", chosen))
        assert labels - {"instance", "job"} <= labels_of(name)
        codes = re.findall(r'code="([^"]*)"', chosen)
        assert set(codes) <= {code.value for code in Code}
        severities = re.findall(r'severity="([^"]*)"', chosen)
        assert set(severities) <= {code.severity for code in Code}


def test_every_rule_says_what_to_do() -> None:
    assert len(rules()) >= 8
    for rule in rules():
        assert re.fullmatch("Dcfm[A-Za-z]+", rule["alert"])
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 20
        asked = {label for name, _ in SAMPLE.findall(rule["expr"]) for label in labels_of(name)}
        told = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
        assert set(told) <= asked | {"instance"}


def test_what_does_not_exist_would_be_seen() -> None:
    assert "dcfm_no_such" not in NAMES
    assert SAMPLE.findall('rate(dcfm_x_total{peer="a"}[5m]) > dcfm_y') == [
        ("dcfm_x_total", 'peer="a"'),
        ("dcfm_y", ""),
    ]


def test_panels_have_ids_of_their_own_and_fit_the_grid() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)
def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(
        ["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(rules())} rules found" in done.stdout
