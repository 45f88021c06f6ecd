"""What a member's node says in place of the truth while the run is prepared (SPEC 6.11)."""

from dcfm_node.records.entries import Accept, Body, Preparation, Propose
from dcfm_node.swarm.effects import Effect
from dcfm_node.swarm.writer import Writer
from dcfm_node.wire.canonical import sha256


class LyingWriter(Writer):
    """The writer of a node that lies as a leader, and as who accepts."""

    def publish(self, body: Body, time_ms: int) -> list[Effect]:
        """Publish a lie in place of a proposal or acceptance.

        A proposal names, by the parity of its term, joins that do not exist, or fewer joins than
        there are, whatever silos accepted before. An acceptance is of a subset of the joins, and of
        all of them at once.
        """
        match body:
            case Propose(term=term, preparation=agreed):
                lie = self._made_up(agreed) if term % 2 else self._fewer(agreed)
                return super().publish(Propose(term=term, preparation=lie), time_ms)
            case Accept(term=term, preparation=agreed):
                fewer = Accept(term=term, preparation=self._fewer(agreed))
                return [*super().publish(fewer, time_ms), *super().publish(body, time_ms)]
            case _:
                return super().publish(body, time_ms)

    def _made_up(self, agreed: Preparation) -> Preparation:
        joins = tuple(sorted(map(sha256, agreed.joins)))
        return agreed.model_copy(update={"joins": joins})

    def _fewer(self, agreed: Preparation) -> Preparation:
        quorum = self.exchange.replica.manifest.quorum
        return agreed.model_copy(update={"joins": agreed.joins[:quorum]})
