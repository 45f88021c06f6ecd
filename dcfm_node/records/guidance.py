"""How samples are drawn for people, and for a student to learn from. Pure."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from dcfm_node.records.base import Model

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Weight = Annotated[float, Field(ge=0.0, le=100.0)]


class Guidance(Model):
    """The weights w_i in sampling (Eq. 5 of DCFM). 1 does not guide; training and scores use 1."""

    known: Weight = 1.0
    """w of combinations that some teacher of the student trained on, 0 to 100."""
    novel: Weight = 1.0
    """w of combinations that none of them trained on, probes among them, 0 to 100."""
    from_t: Share = 0.0
    """Time t, 0 (noise) to 1 (data), from which the weights hold; before it they are 1."""
    to_t: Share = 1.0
    """Time t, 0 to 1, after which the weights are 1 again."""
    shares: Annotated[tuple[Weight, ...], Field(max_length=32)] = ()
    """Share of w - 1 that each attribute gets, 0 to 100: w_i = 1 + share_i (w - 1). Empty means 1
    for each. The joint head asks for all attributes at once and does not use shares."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.from_t > self.to_t:
            raise ValueError("guidance.from_t exceeds guidance.to_t; raise to_t")
        return self

    @property
    def null(self) -> bool:
        """Whether all weights are 1."""
        return self.known == self.novel == 1.0

    @property
    def summary(self) -> str:
        """The weights in a few words, for people."""
        text = f"{self.known:g}"
        if self.novel != self.known:
            text = f"{self.known:g} for combinations trained on and {self.novel:g} for novel ones"
        if not self.null and (self.from_t, self.to_t) != (0.0, 1.0):
            text += f", for t from {self.from_t:g} to {self.to_t:g}"
        return text


class Replay(Model):
    """Rounds in which a student learns novel combinations from samples that a committee passed."""

    rounds: Annotated[int, Field(ge=0, le=20)] = 0
    """Most rounds after each distillation; 0, the default, turns replay off. They end early once
    novel samples pass more often than known ones."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 300
    """Steps of the optimiser in each round; default 300."""
    per_combination: Annotated[int, Field(ge=10, le=1_000)] = 120
    """Samples of each novel combination to train on, and drawn at once; default 120."""
    guidance: Annotated[
        tuple[Annotated[float, Field(ge=0.0, le=100.0)], ...], Field(max_length=8)
    ] = (1.6, 2.5)
    """Guidance weights to draw with, in turn, where samples at weight 1 are not enough."""

    @property
    def progress(self) -> int:
        """Units of progress of all rounds, where drawing counts as much as training, and of what
        comes before them."""
        return self.steps * (2 * self.rounds + 1) if self.rounds else 0
