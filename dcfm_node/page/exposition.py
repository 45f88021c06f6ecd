"""The metrics of one look, as a Prometheus server reads them."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from dcfm_node.page.metrics import METRICS, Sample

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
KINDS = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


class _Collected(Collector):
    """Metrics that are known already, as prometheus-client asks for them."""

    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def exposition(samples: Iterable[Sample]) -> bytes:
    """The samples in Prometheus' text format, in the order of `METRICS`. A metric without a sample
    is left out. The registry is our own: nothing of this process is told beside."""
    made = {
        name: KINDS[metric.kind](name, metric.help, labels=metric.labels)
        for name, metric in METRICS.items()
    }
    for name, labels, value in samples:
        made[name].add_metric(labels, value)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected([family for family in made.values() if family.samples]))
    return generate_latest(registry)
