"""Which route a request belongs to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flynn_aio.model import Certificate, Route, RouteID, RouteType
from flynn_aio.router.table import Keypair, Table, path_of, segments


def http(domain: str, service: str = "", path: str = "/", **more) -> Route:
    return Route(
        type=RouteType.HTTP, id=RouteID(domain + path), domain=domain, path=path, service=service or domain,
        leader=False, created_at=None, updated_at=None, **more,
    )  # fmt: skip


def found(table: Table, host: str, target: bytes = b"/", port: int = 0) -> str:
    target_ = table.find(host, target, port)
    return target_.service if target_ else ""


@pytest.mark.parametrize(
    ("host", "domains", "winner"),
    [
        ("foo.bar", ["foo.bar", "*.foo.bar"], "foo.bar"),
        ("foo.bar", ["*.foo.bar"], "*.foo.bar"),
        ("a.foo.bar", ["*.foo.bar"], "*.foo.bar"),
        ("a.b.foo.bar", ["*.foo.bar"], "*.foo.bar"),
        ("a.b.foo.bar", ["*.foo.bar", "*.b.foo.bar"], "*.b.foo.bar"),
        ("dev.foo.bar", ["*.foo.bar", "dev.foo.bar"], "dev.foo.bar"),
        ("other.example", ["*"], "*"),
        ("foo.bar", ["*", "*.foo.bar"], "*.foo.bar"),
        ("xfoo.bar", ["*.foo.bar", "foo.bar"], ""),
        ("", ["foo.bar"], ""),
        ("", ["*"], "*"),
        ("1.2.3.4.5.foo.bar", ["*.foo.bar"], ""),  # five pieces at most: 1, 2, 3, 4, the rest
        ("1.2.3.4.foo.bar", ["*.foo.bar"], "*.foo.bar"),
        ("1.2.foo.bar", ["*.foo.bar"], "*.foo.bar"),
    ],
)
def test_exact_beats_wildcard_beats_catch_all(host, domains, winner):
    # TestWildcardRouting, TestWildcardCatchAllRouting
    assert found(Table(http(domain) for domain in domains), host) == winner


PATHS = Table([http("a.b", "two-foo", "/2/foo/"), http("a.b", "root"), http("a.b", "two", "/2/"), http("*", "other")])


@pytest.mark.parametrize(
    ("target", "service"),
    [
        (b"/", "root"),
        (b"/2", "two"),
        (b"/2/", "two"),
        (b"/2x", "root"),
        (b"/2/foo/bar", "two-foo"),
        (b"/2/foo", "two-foo"),
        (b"/2/fo", "two"),
        (b"//2///foo", "two-foo"),
        (b"/2?/foo", "two"),
        (b"/%32/f%6Fo", "two-foo"),
        (b"http://a.b/2/foo", "two-foo"),
        (b"http://a.b", "root"),
        (b"*", "root"),
        (b"/x/2/foo", "root"),
    ],
)
def test_the_longest_path_of_whole_segments_wins(target, service):  # TestTree, TestTreeSlice, TestPathRouting
    assert found(PATHS, "a.b", target) == service


def test_a_domain_that_is_present_never_falls_through():
    table = Table([http("a.b", "two", "/2/"), http("*.b", "wild"), http("*", "all")])
    assert found(table, "a.b", b"/1") == ""


def test_an_extra_port_has_routes_of_its_own():
    table = Table([http("a.b", "default"), http("a.b", "extra", port=8080)])
    assert found(table, "a.b") == "default"
    assert found(table, "a.b", port=8080) == "extra"
    assert found(table, "a.b", port=8081) == ""


def test_the_certificate_of_a_domain_is_that_of_its_root():
    new = http("a.b", certificate=Certificate(cert="C", key="K"))
    flat = http("c.d", tls_cert="C2", tls_key="K2")
    table = Table([new, flat, http("e.f"), http("a.b", path="/x/", tls_cert="no", tls_key="no")])
    assert [site.keypair for host in ("a.b", "c.d", "e.f") if (site := table.site(host))] == [
        Keypair(cert="C", key="K"),
        Keypair(cert="C2", key="K2"),
        None,
    ]
    assert table.keypairs == {Keypair(cert="C", key="K"), Keypair(cert="C2", key="K2")}


def test_a_key_is_not_shown():
    assert "secret" not in repr(Keypair(cert="C", key="secret"))


def test_tcp_routes_are_kept_by_port():
    route = Route(type=RouteType.TCP, port=3000, service="db", leader=True, created_at=None, updated_at=None)
    table = Table([route])
    assert table.tcp[3000].service == "db"
    assert table.tcp[3000].leader


@given(st.binary())
def test_any_target_finds_something_or_nothing(target: bytes):
    assert path_of(target).startswith(b"/") or target.startswith(b"/")
    assert b"" not in segments(target)
    assert found(PATHS, "a.b", target) in ("root", "two", "two-foo")


@given(st.text())
def test_any_host_ends_at_the_catch_all_or_nowhere(host: str):
    assert Table([http("*")]).site(host) is not None
    assert Table([http("a.b")]).site(host) is None or host == "a.b"
