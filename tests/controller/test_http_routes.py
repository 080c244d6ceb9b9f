"""Routes over the wire."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from ..support.build import make_app
from .test_releases import UNKNOWN

ZERO_TIME = "0001-01-01T00:00:00Z"


def make_pair(password=None):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "example.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(), pem_of(key, password)


def pem_of(key, password=None):
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock).decode()


@pytest.fixture
async def app(store):
    return await make_app(store)


def http(**fields):
    """The body Flynn's client sends for an HTTP route, with `fields`."""
    sent = {"type": "http", "service": "hello-web", "leader": False, "created_at": ZERO_TIME, "updated_at": ZERO_TIME}
    return sent | {"domain": "example.com", "drain_backends": True} | fields


async def test_a_route_is_created_as_the_servers_own(client, app):
    body = http(id="x", parent_ref="controller/apps/other", path=None)
    route = (await client.post("/apps/hello/routes", body)).json()
    assert list(route) == [
        "type", "id", "parent_ref", "service", "leader", "created_at", "updated_at", "domain", "path", "drain_backends",
    ]  # fmt: skip
    assert route["parent_ref"] == f"controller/apps/{app.id}"
    assert (route["domain"], route["path"]) == ("example.com", "/")
    assert route["created_at"] != ZERO_TIME
    path = f"/apps/hello/routes/http/{route['id']}"
    assert (await client.get(path)).json() == route
    assert [one["domain"] for one in (await client.get("/apps/hello/routes")).json()] == [
        "example.com",
        "hello.flynn.test",
    ]
    assert [one["domain"] for one in (await client.get("/routes")).json()] == ["example.com", "hello.flynn.test"]


async def test_a_route_is_only_found_under_its_app_and_type(store, client, app):
    await make_app(store, "other")
    route = (await client.post("/apps/hello/routes", http())).json()
    for path in (
        f"other/routes/http/{route['id']}",
        f"hello/routes/tcp/{route['id']}",
        f"hello/routes/udp/{route['id']}",
    ):
        for method in ("GET", "DELETE"):
            response = await client.request(method, f"/apps/{path}")
            assert (response.status, response.body) == (404, b"")
    assert (await client.get("/apps/hello/routes/http/x")).status == 404
    assert (await client.get(f"/apps/hello/routes/http/{UNKNOWN}")).status == 404


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (http(type="udp"), 400, "type Enum error. The data must be equal to one of these values [http tcp]."),
        (http(domain="hello.flynn.test"), 409, "Duplicate route"),
        (http(port=1), 400, "Invalid route"),
        (http(path="x"), 400, "Invalid route"),
        (http(path="/x/"), 400, "Invalid route"),
        (http(domain="hello.flynn.test", path="/x/", drain_backends=False), 400, "Invalid route"),
        ({"type": "tcp", "service": "hello-web", "port": 443}, 409, "Port reserved for HTTP/HTTPS traffic"),
    ],
)
async def test_a_route_that_cannot_be_is_refused(client, app, body, status, message):
    response = await client.post("/apps/hello/routes", body)
    assert (response.status, response.json()["message"]) == (status, message)
    assert response.json()["code"] == ("conflict" if status == 409 else "validation_error")


@pytest.mark.parametrize(
    "body",
    [
        http(service=""),
        http(domain=""),
        {"type": "tcp", "service": "x", "port": -1},
        {"type": "tcp", "service": "x", "port": 65535},
        {"type": "tcp", "service": "x", "port": 2**40},
    ],
)
async def test_what_made_flynn_stumble_is_a_validation_error(client, app, body):
    response = await client.post("/apps/hello/routes", body)
    assert (response.status, response.json()["code"]) == (400, "validation_error")


async def test_a_tcp_route_gets_the_lowest_free_port(client, app):
    first = (await client.post("/apps/hello/routes", {"type": "tcp", "service": "hello-web"})).json()
    named = (await client.post("/apps/hello/routes", {"type": "tcp", "service": "hello-web", "port": 3001})).json()
    second = (await client.post("/apps/hello/routes", {"type": "tcp", "service": "hello-web", "leader": True})).json()
    assert [route["port"] for route in (first, named, second)] == [3000, 3001, 3002]
    assert second["leader"] is True
    assert "domain" not in first


async def test_a_certificate_comes_flat_and_goes_out_as_one(client, app):
    cert, key = make_pair()
    route = (await client.post("/apps/hello/routes", http(tls_cert=cert + "\n", tls_key=key))).json()
    assert (route["tls_cert"], route["tls_key"]) == (cert + "\n", key)
    assert (route["certificate"]["cert"], route["certificate"]["key"]) == (cert.strip(), key.strip())
    path = f"/apps/hello/routes/http/{route['id']}"
    read = (await client.get(path)).json()
    assert read == {name: value for name, value in route.items() if not name.startswith("tls_")}
    kept = (await client.put(path, {name: value for name, value in read.items() if name != "certificate"})).json()
    assert kept["certificate"] == read["certificate"]


async def test_a_certificate_that_does_not_fit_is_refused(client, app):
    (cert, _), (_, other_key) = make_pair(), make_pair()
    own_cert, locked_key = make_pair(password=b"secret")
    strangers, no_cert = "tls: private key does not match public key", "the certificate is not one in PEM"
    no_key = "the private key is not one in PEM without a password"
    for pair, why in (
        ((cert, other_key), strangers),
        ((cert, pem_of(ed25519.Ed25519PrivateKey.generate())), strangers),
        ((cert, ""), no_key),
        ((own_cert, locked_key), no_key),
        (("x", "y"), no_cert),
        (("", other_key), no_cert),
        (("é", other_key), no_cert),
        (("é\n" + own_cert, locked_key), no_key),
    ):
        response = await client.post("/apps/hello/routes", http(tls_cert=pair[0], tls_key=pair[1]))
        assert (response.status, response.json()["code"]) == (400, "validation_error"), pair
        assert response.json()["message"] == f"Certificate invalid: {why}"


async def test_an_update_keeps_what_may_not_change(client, app):
    route = (await client.post("/apps/hello/routes", http())).json()
    path = f"/apps/hello/routes/http/{route['id']}"
    sent = route | {"service": "hello-api", "sticky": True, "drain_backends": False, "parent_ref": "x", "type": "tcp"}
    changed = (await client.put(path, sent)).json()
    assert (changed["type"], changed["service"], changed["sticky"]) == ("http", "hello-api", True)
    assert (changed["drain_backends"], changed["parent_ref"]) == (True, route["parent_ref"])
    assert changed["created_at"] == route["created_at"]
    response = await client.put(path, route | {"domain": "other.example.com"})
    assert (response.status, response.body) == (404, b"")


async def test_a_route_others_depend_on_is_deleted_after_them(client, app):
    root = (await client.post("/apps/hello/routes", http())).json()
    below = (await client.post("/apps/hello/routes", http(path="/below"))).json()
    assert below["path"] == "/below/"
    response = await client.delete(f"/apps/hello/routes/http/{root['id']}")
    assert (response.status, response.json()["message"]) == (400, "Route has dependent routes")
    for route in (below, root):
        response = await client.delete(f"/apps/hello/routes/http/{route['id']}")
        assert (response.status, response.body) == (200, b"")
    events = (await client.get("/events?object_types=route,route_deletion&count=4")).json()
    assert [event["object_type"] for event in events] == ["route_deletion", "route_deletion", "route", "route"]
