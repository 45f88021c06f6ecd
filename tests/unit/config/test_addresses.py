"""Addresses to listen on and to dial."""

import pytest
from pydantic import TypeAdapter, ValidationError

from dcfm_node.config.addresses import DialAddress, ListenAddress, check_pair

LISTEN: TypeAdapter[str] = TypeAdapter(ListenAddress)
DIAL: TypeAdapter[str] = TypeAdapter(DialAddress)


@pytest.mark.parametrize(
    "address",
    [
        "tcp://10.0.0.1:7400",
        "tcp://a.example.org:1",
        "tcp://[2001:db8::1]:65535",
        "tcp://[fe80::1%eth0]:9",
    ],
)
def test_addresses_to_dial(address: str) -> None:
    assert DIAL.validate_python(address) == address
    assert LISTEN.validate_python(address) == address


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:7400", "tcp://*:7400", "tcp://[::]:7400", "tcp://127.0.0.1:*"]
)
def test_addresses_to_listen_on_only(address: str) -> None:
    assert LISTEN.validate_python(address) == address
    with pytest.raises(ValidationError, match="cannot be dialled"):
        DIAL.validate_python(address)


@pytest.mark.parametrize(
    "address",
    [
        "a.example.org:7400",
        "udp://a:1",
        "tcp://a",
        "tcp://a:",
        "tcp://a:0",
        "tcp://a:65536",
        "tcp://2001:db8::1:7400",
        "tcp://a b:7400",
        "tcp://a:7400/x",
        "tcp://a:7400\n",
        "",
    ],
)
def test_what_is_no_address(address: str) -> None:
    for adapter in (LISTEN, DIAL):
        with pytest.raises(ValidationError, match="tcp://host:port"):
            adapter.validate_python(address)


def test_bulk_has_a_port_of_its_own_or_none() -> None:
    check_pair(None, None)
    check_pair("tcp://a:1", None)
    check_pair("tcp://a:1", "tcp://a:2")
    check_pair("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
    for pair, fix in (((None, "tcp://a:1"), "set both"), (("tcp://a:1", "tcp://a:1"), "own port")):
        with pytest.raises(ValueError, match=fix):
            check_pair(*pair)
