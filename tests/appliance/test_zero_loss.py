"""Nobody who asks an app notices that it is changed: traffic of all kinds, and changes of all kinds."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Network

import pytest
import trio

from flynn_aio.engine import open_fake_engine

from ..receive.conftest import FakeBuilder
from ..support import appliance as podman
from ..support.traffic.changes import Changes, doors_of, open_changes
from ..support.traffic.http1 import Doors
from ..support.traffic.load import ROOT, open_load
from .test_in_memory import pushed, running
from .test_in_memory import settings as common_settings

__all__ = ["common_settings"]

SUBNET = IPv4Network("127.107.0.0/24")
PODMAN_SUBNET = "100.107.0.0/24"

RATE = 150.0
PODMAN_RATE = 100.0
"""Requests per second that two busy cores bear beside everything else. `python -m bench zero-loss` asks 500."""
APP = ROOT / "tests" / "support" / "traffic" / "app" / "server.py"


async def web(process):
    """Run the app as a process of its own: a signal ends it in the middle of whatever it does."""
    env = {"PATH": os.environ["PATH"], **process.spec.env}
    await trio.run_process([sys.executable, str(APP)], env=env, stderr=subprocess.STDOUT)


@pytest.fixture
def settings(common_settings):
    """Jobs have addresses of their own: these listen until they are told to stop."""
    engine = replace(common_settings.engine, subnet=SUBNET)
    return replace(common_settings, engine=engine, discoverd=replace(common_settings.discoverd, address=engine.gateway))


@pytest.fixture
async def engine(settings):
    settings.engine.log_dir.mkdir(parents=True)
    async with open_fake_engine(subnet=SUBNET, log_dir=settings.engine.log_dir) as fake:
        yield fake.script(FakeBuilder(), type="slugbuilder").script(web, type="web")


async def test_no_request_is_lost_while_an_app_is_changed(settings, engine, tmp_path):
    async with running(settings, engine) as world:
        assert (await world.api.post("/apps", {"name": "hello"})).status == 200
        _, said = await pushed(world, tmp_path)
        assert said.code == 0, said.text
        ca_file = str(settings.data_dir / "keys" / "ca.pem")
        doors = Doors(world.host, world.ready.http_port, world.ready.https_port, ca_file)
        await is_noticed_by_nobody(doors, Changes(world.api, "hello"), rate=RATE)


@pytest.mark.podman
@pytest.mark.slow
def test_no_request_is_lost_on_real_podman():
    with podman.running(PODMAN_SUBNET) as appliance:
        repo = podman.repository(appliance.place / "steady", APP.parent)
        appliance.flynn("create", "steady", cwd=repo)
        appliance.run("git", "push", "flynn", "master", cwd=repo)
        trio.run(partial(asked_and_changed, appliance))


async def asked_and_changed(appliance):
    with open_changes(appliance, "steady") as changes:
        await is_noticed_by_nobody(doors_of(appliance, "steady"), changes, rate=PODMAN_RATE)


async def is_noticed_by_nobody(doors, changes, *, rate):
    """Make one change of each sort under load, and find every request answered by a job of the app."""
    await changes.scale(2)
    async with open_load(doors, rate=rate) as outcome:
        await changes.round()
    assert not outcome.failures, await changes.explain(outcome.failures)
    assert outcome.skipped == 0
    assert all(outcome.took_ms.values()), {kind: len(took) for kind, took in outcome.took_ms.items()}
    assert len(outcome.jobs) > len(changes.made)  # every change brought jobs, and each of them was asked
