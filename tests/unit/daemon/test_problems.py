"""What of the worker's warnings about data is a problem in the run."""

import pytest

from dcfm_node.api.problems import Code
from dcfm_node.daemon.problems import data_problems
from dcfm_node.data.oddities import DataWarning
from dcfm_node.records.moments import Moments
from tests.unit.swarm.builders import Run


@pytest.mark.parametrize("stated", [True, False])
def test_a_scale_is_a_problem_only_where_no_silo_states_moments(stated: bool) -> None:
    """A silo of few samples states none, and the run standardises by those of the others."""
    run, few = (
        Run(2, prepares=True),
        DataWarning("data-scale", "d.csv: odd", "scale it", unscaled=True),
    )
    moments = Moments(mean=(0.0, 1e3), deviation=(1.0, 9.0)) if stated else None
    for author in run.authors:
        author.join(moments=moments)
    assert list(data_problems(run.view(), [few])) == []  # nothing is agreed yet
    run.prepare()
    found = [problem.code for problem in data_problems(run.view(), [few])]
    assert found == ([] if stated else [Code.DATA_SCALE])
    (kept,) = data_problems(run.view(), [DataWarning("data-scale", "d.csv: odd")])
    assert kept.code == Code.DATA_SCALE
