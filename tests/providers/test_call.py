"""Calls to providers over real sockets: what is sent, and every way in which it can go wrong."""

import ssl

import pytest
import trio

from flynn_aio.discoverd import Services, Snapshot
from flynn_aio.model import Instance, Provider
from flynn_aio.providers import ProviderError, Providers
from flynn_aio.providers.call import ANSWER_BYTES
from flynn_aio.settings import ProviderSettings
from flynn_aio.watch import Watch

from ..support.certs import Authority
from ..support.provider import running_provider


@pytest.fixture
def services():
    return Services(snapshot=Watch(Snapshot()))


@pytest.fixture
def providers(tmp_path, services):
    return Providers(ProviderSettings(ca_certificate=tmp_path / "none.pem"), services)


def named(url: str) -> Provider:
    return Provider(name="things", url=url)


async def test_provisioning_posts_the_config_and_deprovisioning_names_the_id(providers):
    async with running_provider() as fake:
        made = await providers.provision(named(fake.url), b'{"size": null}')
        assert made.id == "/things/1"
        assert made.env == {"THING_URL": "thing:///things/1"}
        await providers.deprovision(named(fake.url), made.id)
        await providers.deprovision(named(fake.url), made.id)  # gone already
    posted, deleted, again = fake.asked
    assert (posted.method, posted.target, posted.body) == ("POST", "/things", b'{"size": null}')
    assert posted.headers["content-type"] == "application/json"
    assert posted.headers["host"] == f"127.0.0.1:{fake.port}"
    assert (deleted.method, deleted.target) == ("DELETE", "/things?id=%2Fthings%2F1")
    assert again == deleted


async def test_user_and_password_of_the_url_are_sent(providers):
    async with running_provider() as fake:
        await providers.provision(named(f"http://me:secret@127.0.0.1:{fake.port}/things"), b"{}")
    assert fake.asked[0].headers["authorization"] == "Basic bWU6c2VjcmV0"


async def test_names_below_localhost_are_this_machine(providers):
    async with running_provider() as fake:
        await providers.provision(named(f"http://things.flynn.localhost:{fake.port}/"), b"{}")
    assert fake.asked[0].headers["host"] == f"things.flynn.localhost:{fake.port}"


@pytest.mark.parametrize("host", ["things-web.discoverd", "leader.things-web.discoverd", "THINGS-web.discoverd"])
async def test_a_service_of_the_cluster_is_found_with_its_port(providers, services, host):
    async with running_provider() as fake:
        instance = Instance(id="0123", addr=f"127.0.0.1:{fake.port}")
        services.snapshot.set(Snapshot(instances={"things-web": (instance,)}))
        await providers.provision(named(f"http://{host}/things"), b"{}")
        await providers.provision(named(f"http://{host}:{fake.port}/things"), b"{}")
    assert len(fake.asked) == 2


async def test_the_next_instance_is_tried_when_one_refuses(providers, services):
    async with running_provider() as fake:
        addresses = ("127.0.0.1:1", f"127.0.0.1:{fake.port}")
        over_tcp = tuple(Instance(id=addr, addr=addr) for addr in addresses)
        instances = (Instance(id="udp", addr="127.0.0.1:2", proto="udp"), *over_tcp)
        services.snapshot.set(Snapshot(instances={"things-web": instances}))
        await providers.provision(named("http://things-web.discoverd/things"), b"{}")
    assert len(fake.asked) == 1


async def test_a_service_without_instances_is_said_to_have_none(providers, services):
    services.snapshot.set(Snapshot(instances={"things-web": ()}))
    for host in ("things-web.discoverd", "nothing.discoverd"):
        with pytest.raises(ProviderError, match=f"nobody answers for {host} in this cluster just now") as caught:
            await providers.provision(named(f"http://{host}/things"), b"{}")
        assert not caught.value.in_doubt


async def test_a_refused_connection_names_provider_url_step_and_what_to_do(providers):
    with pytest.raises(ProviderError) as caught:
        await providers.provision(named("http://me:secret@127.0.0.1:1/things"), b"{}")
    assert caught.value.message == (
        "asking provider 'things' at http://127.0.0.1:1/things for a resource: connecting to 127.0.0.1:1: "
        "connection refused; see to it that it runs and can be reached from here"
    )
    assert not caught.value.in_doubt


async def test_a_name_nobody_knows_is_said_to_be_unknown(providers):
    with pytest.raises(ProviderError, match=r"connecting to nothing\.invalid:80: ") as caught:
        await providers.provision(named("http://nothing.invalid/"), b"{}")
    assert not caught.value.in_doubt


async def test_a_url_that_an_older_version_took_is_said_to_be_wrong(providers):
    with pytest.raises(ProviderError, match="the URL of provider 'things' is not like http://HOST/PATH"):
        await providers.deprovision(named("gopher://example.com/"), "/x")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "no HTTP answer"),
        (b"hello\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (ANSWER_BYTES + 1), "longer than"),
    ],
)
async def test_nonsense_is_a_doubtful_failure(providers, said, text):
    async with running_provider() as fake:
        fake.says = said
        with pytest.raises(ProviderError, match=text) as caught:
            await providers.provision(named(fake.url), b"{}")
    assert caught.value.in_doubt
    assert caught.value.message.endswith("(it may have made something)")


async def test_a_refusal_is_passed_on_and_is_not_in_doubt(providers):
    async with running_provider() as fake:
        fake.status, fake.body = 500, b'{"message": "out of disk"}'
        with pytest.raises(ProviderError, match="it answered with status 500: out of disk; its own log") as caught:
            await providers.provision(named(fake.url), b"{}")
        assert not caught.value.in_doubt
        with pytest.raises(ProviderError, match="to remove '/x': it answered with status 500: out of disk"):
            await providers.deprovision(named(fake.url), "/x")


async def test_a_silent_provider_is_given_up(tmp_path, services, autojump_clock):
    settings = ProviderSettings(ca_certificate=tmp_path / "none.pem")
    providers = Providers(settings, services)
    async with running_provider() as fake:
        fake.before = trio.sleep_forever
        with pytest.raises(ProviderError, match=r"within 300 s; .*provision_timeout_s .*made something") as made:
            await providers.provision(named(fake.url), b"{}")
        assert trio.current_time() == pytest.approx(300, abs=1)
        with pytest.raises(ProviderError, match=r"within 45 s; .*deprovision_timeout_s .*removed it") as removed:
            await providers.deprovision(named(fake.url), "/x")
    assert made.value.in_doubt
    assert removed.value.in_doubt


async def test_tls_trusts_the_cluster_and_checks_the_name(tmp_path, services):
    authority = Authority()
    leaf = authority.leaf("things.flynn.localhost")
    for name, pem in (("ca.pem", authority.pem), ("leaf.pem", leaf.cert), ("leaf.key", leaf.key)):
        (tmp_path / name).write_text(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "leaf.pem", tmp_path / "leaf.key")
    trusting = Providers(ProviderSettings(ca_certificate=tmp_path / "ca.pem"), services)
    strict = Providers(ProviderSettings(ca_certificate=tmp_path / "none.pem"), services)
    async with running_provider(context) as fake:
        url = f"https://things.flynn.localhost:{fake.port}/things"
        assert (await trusting.provision(named(url), b"{}")).id == "/things/1"
        with pytest.raises(ProviderError, match="its certificate is not trusted"):
            await strict.provision(named(url), b"{}")
        with pytest.raises(ProviderError, match="its certificate is not trusted"):
            await trusting.provision(named(url.replace("things.flynn", "other.flynn")), b"{}")
    async with running_provider() as fake:
        with pytest.raises(ProviderError, match=f"TLS with 127.0.0.1:{fake.port}: ") as caught:
            await trusting.provision(named(f"https://127.0.0.1:{fake.port}/"), b"{}")
        assert not caught.value.in_doubt
