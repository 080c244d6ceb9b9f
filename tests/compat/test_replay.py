"""What Flynn's own client was seen to send is sent again, request by request, and must be answered as it was then.

The flows are data (`flows/`, see `flow.py` and `record.py`); the client itself is not needed.
"""

import pytest

from . import replay as replaying_module
from .flow import Mismatch, load
from .replay import FLOWS, replaying


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
async def test_the_flow_goes_as_it_was_recorded(world, path):
    flow = load(path.read_text())
    async with replaying(world, flow) as replay:
        for step in flow["steps"]:
            try:
                await replay.step(step)
            except* Mismatch as failed:
                raise AssertionError(f"{' '.join(step['run'])}: {failed.exceptions[0]}") from failed


def _status(exchange):
    exchange["status"] += 1


def _field(exchange):
    exchange["answer"]["strategy"] = "in-batches"


def _more(exchange):
    exchange["answer"]["owner"] = "nobody"


def _type(exchange):
    exchange["type"] = "text/plain"


def _word(exchange):
    exchange["answer"]["id"] = "<pin>"


@pytest.mark.parametrize("change", [_status, _field, _more, _type, _word])
async def test_an_answer_that_differs_is_noticed(world, change):
    flow = load((FLOWS[0].parent / "apps.json").read_text())
    [created] = flow["steps"][0]["exchanges"]
    change(created)
    async with replaying(world, flow) as replay:
        with pytest.raises(ExceptionGroup) as failed:
            await replay.step(flow["steps"][0])
    assert failed.group_contains(Mismatch)


async def test_an_event_that_does_not_come_is_noticed(world, monkeypatch):
    monkeypatch.setattr(replaying_module, "WITHIN_S", 1)
    flow = load((FLOWS[0].parent / "scale.json").read_text())
    up = next(step for step in flow["steps"] if step["run"][-1] == "web=1")
    stream = next(exchange for exchange in up["exchanges"] if "frames" in exchange)
    stream["frames"][-1]["data"]["state"] = "cancelled"
    async with replaying(world, flow) as replay:
        with pytest.raises(ExceptionGroup) as failed:
            await replay.step(up)
    assert failed.group_contains(Mismatch)


async def test_another_exit_code_is_noticed(world):
    flow = load((FLOWS[0].parent / "run.json").read_text())
    step = next(step for step in flow["steps"] if step["prints"]["exit"] == 42)
    step["exchanges"][-1]["session"]["received"]["exit"] = 41
    async with replaying(world, flow) as replay:
        with pytest.raises(ExceptionGroup) as failed:
            await replay.step(step)
    assert failed.group_contains(Mismatch)
