"""What a dialer remembers of failed dials."""

from typing import Any

from dcfm_node.net.curve import Plane
from dcfm_node.net.dialer import Dialer, Target, Wiring
from dcfm_node.net.peers import Failure, LinkPeer

OWN, GUEST = Target("tcp://10.0.0.1:7401"), Target("tcp://10.0.0.1:7400", guest=True)


class World:
    """The owner and the reactor of one dialer. Nothing is dialled."""

    def __init__(self, routed: bool) -> None:
        self.routed = routed

    def is_routed(self, link_key: str) -> bool:
        return self.routed

    def background(self, *_: object) -> None:
        pass

    def now(self) -> float:
        return 100.0


def failing(routed: bool) -> Dialer:
    world: Any = World(routed)
    wiring = Wiring(world, world, Plane("p", "s", 1, 1, 1.0), world)
    made = Dialer(wiring, LinkPeer(b"e", "east", "k", None, None), [OWN, GUEST])
    for target in (OWN, GUEST):
        made._failures[target.address] = Failure(target.address, 3, "refused")
    return made


def test_failures_at_the_control_port_are_forgotten_once_the_peer_dialled_this_plane() -> None:
    dialer = failing(routed=True)
    dialer.tick(100.0)
    assert [failure.address for failure in dialer.failures] == [OWN.address]


def test_without_any_link_all_failures_stay() -> None:
    dialer = failing(routed=False)
    dialer.tick(100.0)
    assert len(dialer.failures) == 2
