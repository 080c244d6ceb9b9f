"""Network: collisions with routes that are already there, and links."""

from ipaddress import IPv4Network

import pytest

from flynn_aio.engine.network import colliding_routes, delete_link, keep_link_address

# a default route, 192.0.2.0/24 on eth0 and 100.100.0.0/16 on flynn-1
ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
flynn-1\t00006464\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""


@pytest.mark.parametrize(
    ("subnet", "ours", "expected"),
    [
        ("100.100.0.0/16", "flynn-1", []),
        ("100.100.0.0/16", "flynn-2", ["flynn-1"]),
        ("100.100.7.0/24", "flynn-2", ["flynn-1"]),
        ("192.0.0.0/8", "flynn-1", ["eth0"]),
        ("10.0.0.0/8", "flynn-1", []),
    ],
)
def test_collisions(subnet, ours, expected):
    assert colliding_routes(IPv4Network(subnet), ours=ours, routes=ROUTES) == expected


def test_a_link_that_is_not_there_is_not_deleted():
    assert delete_link("flynn-nothing") is False


def test_a_link_that_is_not_there_keeps_no_address():
    keep_link_address("flynn-nothing")
