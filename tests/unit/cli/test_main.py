"""What every command sets up before it runs."""

import os

import pytest

from dcfm_node.cli.main import main


@pytest.mark.parametrize(("before", "after"), [("", "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_the_operator_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    monkeypatch.setattr("sys.argv", ["dcfm-node", "version"])
    monkeypatch.setenv("OMP_WAIT_POLICY", before)
    if not before:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert os.environ["OMP_WAIT_POLICY"] == after
