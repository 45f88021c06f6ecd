"""One composed law with one seed: what each way of sampling draws at a budget of evaluations."""

import time

import torch
from torch import Tensor

from dcfm_node.experiment.algebra.problems import PIXELS, ColouredDigits, Composed
from dcfm_node.experiment.algebra.settings import DIGITS, STUDENTS, Algebra, Way
from dcfm_node.experiment.algebra.students import StudentDigits
from dcfm_node.experiment.lines import NOISE_SEED, TrialSpec
from dcfm_node.experiment.results import Row
from dcfm_node.experiment.rows import RowsTrial
from dcfm_node.flow.correcting import Terms, corrected
from dcfm_node.flow.sampling import Corrector


class AlgebraTrial(RowsTrial):
    """Runs the trial of a specification; its partition is a law's name, `digits` or `students`."""

    def __init__(self, spec: TrialSpec, given: Algebra) -> None:
        read = {"law", "way", "samples", "each", "greys", "students"}
        inputs = given.model_dump_json(include=read)
        super().__init__(spec, given.lineup(spec.partition), inputs)
        self._variants = given.variants(spec.partition)
        self._problem: Composed | ColouredDigits | StudentDigits
        if spec.partition == DIGITS:
            self._problem = ColouredDigits.drawn(given.greys, given.each, spec.seed)
            self._groups = self._problem.asked @ torch.tensor([100, 1])
        elif spec.partition == STUDENTS:
            assert given.students is not None
            self._problem = StudentDigits.trained(given.students, spec, self._tell)
            self._groups = self._problem.asked @ torch.tensor([100, 1])
        else:
            (law,) = (law for law in given.law if law.name == spec.partition)
            self._problem = Composed(law)
            self._groups = torch.zeros(given.samples, dtype=torch.int64)

    def row(self, variant: str) -> Row:
        """The samples' distance from the law, and their cost."""
        way, evaluations = self._variants[variant]
        problem, steps = self._problem, way.steps(evaluations)
        if isinstance(problem, Composed):
            terms, size, dtype = problem.terms, 1, torch.float64
        else:
            terms = problem.terms(way.weight, joint=way.joint)
            size, dtype = PIXELS, torch.float32
        draws = torch.Generator().manual_seed(NOISE_SEED + self._spec.seed)
        x0 = torch.randn((len(self._groups), size), generator=draws, dtype=dtype)
        began = time.process_time()
        x = self._drawn(terms, x0, steps, way, draws)
        seconds = time.process_time() - began
        used = steps + way.moves * (steps - 1)
        return Row(
            method=variant,
            partition=self._spec.partition,
            seed=self._spec.seed,
            rule=way.name,
            metrics={"evaluations": float(used), "steps": float(steps), **problem.measure(x)},
            cost={"microseconds": 1e6 * seconds / len(x0)},
        )

    def _drawn(
        self, terms: Terms, x0: Tensor, steps: int, way: Way, draws: torch.Generator
    ) -> Tensor:
        kind = "langevin" if way.correct == "none" else way.correct
        how = Corrector(kind, way.moves, way.size)
        state = x0
        with torch.no_grad():
            for done, x in enumerate(
                corrected(terms, self._groups, x0, steps, how=how, draws=draws)
            ):
                state = x
                self._tell(way.name, done, steps)
        return state
