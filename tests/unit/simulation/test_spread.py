"""Propagation in networks of growing size."""

from dcfm_node.simulation.spread import document, measure


def test_every_node_hears_every_record_and_more_nodes_cost_more_bytes() -> None:
    small, large = measure((8, 24), degree=4, gossip_s=1.0, seed=0)
    assert small.unheard == large.unheard == 0
    assert 0 < small.median_s <= small.last_s
    assert small.bytes_s < large.bytes_s
    assert document([small, large], degree=4)["rows"][1]["nodes"] == 24
