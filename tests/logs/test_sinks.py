"""Sinks over real sockets: what arrives, what is sent again, and what a bad server cannot do."""

import socket
import ssl
import struct
import threading
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from flynn_aio.clock import SystemClock
from flynn_aio.engine import JobSpec, Stream, open_fake_engine
from flynn_aio.logs import LogQuery, open_logs, open_sinks, sender, sinks, syslog_outlet
from flynn_aio.logs.retention import Plan, carry_out
from flynn_aio.settings import LogSettings

from ..support.certs import Authority
from ..support.conmon import APP, OTHER, job_id
from ..support.log_server import Known, log_server, read_all, text_of, unframed


@pytest.fixture
def known():
    return Known(SystemClock())


@pytest.fixture(autouse=True)
def _hurry(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(sender, "RECONNECT_S", 0.1)
    monkeypatch.setattr(sinks, "SETTLE_S", 0.01)


@asynccontextmanager
async def sending(directory, known, engine=None):
    """Have logs with senders for what is known."""
    directory.mkdir(exist_ok=True)
    clock = SystemClock()
    async with open_fake_engine() as nobody:
        async with open_logs(LogSettings(dir=directory), engine or nobody, clock) as logs:
            async with open_sinks(logs, known, clock):
                yield logs


async def until(condition, within_s=5.0) -> None:
    with trio.fail_after(within_s):
        while True:
            if condition():
                return
            await trio.sleep(0.01)


def was_stopped(caplog) -> bool:
    return any("log sink stopped" in record.message for record in caplog.records)


def numbers(begin, end):
    return [str(number) for number in range(begin, end)]


async def test_a_sink_gets_what_is_kept_and_then_every_line_in_order(directory, writer, known):
    first, other = writer(1), writer(2, app=OTHER)
    first.print("before")
    async with log_server() as server, sending(directory, known):
        known.add(f"syslog://127.0.0.1:{server.port}")
        await server.has("before")
        first.print(*numbers(0, 50))
        await server.has(*numbers(0, 50))
        other.print("theirs", stream="stderr")
        await server.has("theirs")
        writer(3, "").print("one-off")
        await server.has("one-off")
        assert len(server.texts) == 53
    head = server.messages[0].split(b" ")
    assert head[0] == b"<190>1"
    assert head[3:6] == [b"shop", b"web.host0-" + job_id(1).encode(), b"ID1"]


async def test_a_last_line_without_a_newline_is_sent_when_its_job_has_ended(directory, known):
    spec = JobSpec(id=job_id(1), app=APP, app_name="shop", image="x", type="web")
    directory.mkdir()
    async with open_fake_engine(log_dir=directory) as engine, log_server() as server:
        async with sending(directory, known, engine):
            known.add(f"syslog://127.0.0.1:{server.port}")
            await engine.start(spec)
            await engine.print(spec.id, b"whole\nhalf")
            await engine.print(spec.id, b"error", Stream.STDERR)
            await server.has("whole")
            engine.crash(spec.id)
            await until(lambda: len(server.texts) == 3)
            assert sorted(server.texts[1:]) == ["error", "half"]
        async with sending(directory, known, engine):  # and not again after a restart
            await until(lambda: len(server.got) == 2)
            await engine.start(JobSpec(id=job_id(2), app=APP, app_name="shop", image="x"))
            await engine.print(job_id(2), b"next\n")
            await server.has("next")
    assert len(server.texts) == 4


async def test_a_restart_goes_on_where_it_was(directory, writer, known):
    job, idle = writer(1), writer(2)
    async with open_fake_engine() as engine, log_server() as server:
        await engine.start(JobSpec(id=job_id(1), app=APP, app_name="shop", image="x", type="web"))
        known.add(f"syslog://127.0.0.1:{server.port}")
        idle.print("idle")
        async with sending(directory, known, engine):
            job.print(*numbers(0, 10))
            job.begin("half ")
            await until(lambda: len(server.texts) == 11)
        job.print("whole", *numbers(10, 20))
        job.rotate()
        job.print(*numbers(20, 30))
        late = writer(3)
        late.print("late")
        async with sending(directory, known, engine):
            await until(lambda: len(server.texts) == 33)
            late.print("end")
            await server.has("end")
    mine = [text for text in server.texts if text not in ("idle", "late", "end")]
    assert mine == [*numbers(0, 10), "half whole", *numbers(10, 30)]
    assert sorted(server.texts) == sorted([*mine, "idle", "late", "end"])


async def test_after_a_crash_nothing_is_missing(directory, writer, known, monkeypatch):
    """Without the last words of its sender a cursor is up to `SAVE_S` old: lines come twice, none is lost."""
    monkeypatch.setattr(sender, "SAVE_S", 0.05)
    job = writer(1)
    async with log_server() as server:
        known.add(f"syslog://127.0.0.1:{server.port}")
        async with sending(directory, known):
            job.print(*numbers(0, 10))
            await until(lambda: len(server.texts) == 10 and any((directory / "cursors").glob("*.json")))
            before = (directory / "cursors" / "one.json").read_bytes()
            job.print(*numbers(10, 20))
            await until(lambda: len(server.texts) == 20)
        (directory / "cursors" / "one.json").write_bytes(before)
        job.print("end")
        async with sending(directory, known):
            await server.has("end")
    seen = list(dict.fromkeys(server.texts))
    assert seen == [*numbers(0, 20), "end"]


async def test_a_server_that_restarts_misses_nothing(directory, writer, known):
    """What had not reached its machine when the connection was lost is sent over the next one."""
    job = writer(1)
    async with sending(directory, known):
        async with log_server() as first:
            port = first.port
            known.add(f"syslog://127.0.0.1:{port}")
            job.print(*numbers(0, 10))
            await first.has(*numbers(0, 10))
        for number in numbers(10, 40):
            job.print(number)
            await trio.sleep(0.005)
        async with log_server(port=port) as second:
            await second.has(*numbers(10, 40))
            assert second.texts == numbers(10, 40)


async def test_what_a_reset_connection_had_not_acknowledged_is_sent_again(directory, writer, known):
    """The server reads a little, then its machine is full, and the connection is reset."""
    seen = []

    async def read_a_little(server, stream):
        if len(server.got) > 1:
            await read_all(server, stream)
            return
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with trio.move_on_after(0.3):
            while True:
                server.note(await stream.receive_some(1000))
                await trio.sleep(0.01)
        seen.extend(unframed(bytes(server.got[0])))
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()

    job = writer(1)
    job.write(b"".join(job.record(b"x" * 200 + b"%d" % number) for number in range(20_000)))
    async with log_server(read_a_little) as server, sending(directory, known):
        known.add(f"syslog://127.0.0.1:{server.port}")
        await server.has("x" * 200 + "19999", within_s=20)
    again = [int(text_of(message)[200:]) for message in unframed(bytes(server.got[1]))]
    assert again == list(range(again[0], 20_000))
    # What lies between was in the other machine's hands: at most its receive buffer, and one batch is read again.
    assert len(seen) - 400 <= again[0] < 19_000


@pytest.mark.parametrize("insecure", [False, True])
async def test_tls(directory, writer, known, tmp_path, monkeypatch, insecure):
    authority = Authority()
    pair = authority.leaf("localhost") if not insecure else Authority().leaf("elsewhere")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "pair.pem").write_text(pair.cert + pair.key)
    context.load_cert_chain(tmp_path / "pair.pem")
    (tmp_path / "ca.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    job = writer(1)
    async with log_server(tls=context) as server, sending(directory, known):
        known.add(f"syslog+tls://localhost:{server.port}", insecure=insecure)
        job.print(*numbers(0, 1000))
        await server.has(*numbers(0, 1000))
        assert len(server.got) == 1


async def test_a_certificate_nobody_vouches_for_gets_no_line(directory, writer, known, tmp_path, caplog):
    pair = Authority().leaf("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    (tmp_path / "pair.pem").write_text(pair.cert + pair.key)
    context.load_cert_chain(tmp_path / "pair.pem")
    writer(1).print("secret")
    async with log_server(tls=context) as server, sending(directory, known):
        known.add(f"syslog+tls://localhost:{server.port}")
        await until(lambda: len(server.got) >= 3)
    assert server.texts == []
    [complaint] = [record for record in caplog.records if "not served" in record.message]  # once, not every time
    assert "unable to get local issuer certificate" in complaint.reason


async def refuses(server, stream):
    """Accept and close at once."""


async def never_reads(server, stream):
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    await trio.sleep_forever()


async def says_something(server, stream):
    """Talk without end and never listen."""
    while True:
        await stream.send_all(b"x" * 65536)


async def no_tls(server, stream):
    await stream.send_all(b"220 mail.example.com ESMTP\r\n" * 10)
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("serve", "scheme"),
    [
        (refuses, "syslog"),
        (never_reads, "syslog"),
        (says_something, "syslog"),
        (refuses, "syslog+tls"),
        (never_reads, "syslog+tls"),
        (no_tls, "syslog+tls"),
    ],
)
async def test_a_hostile_server_harms_nobody_else(directory, writer, known, monkeypatch, caplog, serve, scheme):
    """A second sink, a follower and the loop go on as if it were not there; deleting it works at any time."""
    monkeypatch.setattr(syslog_outlet, "WRITE_S", 0.2)
    monkeypatch.setattr(syslog_outlet, "DIAL_S", 0.3)
    job = writer(1)
    delays = []

    async def tick():
        while True:
            due = trio.current_time() + 0.005
            await trio.sleep_until(due)
            delays.append(trio.current_time() - due)

    async with log_server(serve) as bad, log_server() as good, sending(directory, known) as logs:
        hostile = known.add(f"{scheme}://localhost:{bad.port}", "bad")
        known.add(f"syslog://127.0.0.1:{good.port}", "good")
        await until(lambda: bad.got)
        async with logs.follow(APP, LogQuery()) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(tick)
            for begin in range(0, 10_000, 1000):
                job.write(b"".join(job.record(b"%d" % number) for number in range(begin, begin + 1000)))
                await trio.sleep(0.02)
            await good.has(*numbers(9_990, 10_000))
            with trio.fail_after(5):
                while (await stream.receive()).msg != "9999":
                    pass
            nursery.cancel_scope.cancel()
        assert good.texts == numbers(0, 10_000)
        assert sorted(delays)[len(delays) // 2] < 0.05
        known.remove(hostile)
        await until(lambda: was_stopped(caplog))
        await trio.testing.wait_all_tasks_blocked(0.05)
        count = len(bad.got)
        await trio.sleep(0.3)
        assert len(bad.got) == count


async def test_a_server_that_only_closes_its_side_still_gets_lines(directory, writer, known):
    """As netcat does when its own input is at its end."""

    async def half_closed(server, stream):
        await stream.send_eof()
        await read_all(server, stream)

    job = writer(1)
    async with log_server(half_closed) as server, sending(directory, known):
        known.add(f"syslog://127.0.0.1:{server.port}")
        for number in numbers(0, 20):
            job.print(number)
            await server.has(number)
        assert len(server.got) == 1


async def test_a_name_that_leads_nowhere_is_tried_again(directory, writer, known, monkeypatch, caplog):
    writer(1).print("hello")
    asked = []

    def resolve(host, port, **options):
        asked.append(host)
        if len(asked) < 4:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(syslog_outlet, "getaddrinfo", resolve)
    async with log_server() as server, sending(directory, known):
        known.add(f"syslog://logs.nowhere.test:{server.port}")
        await server.has("hello")
    assert asked == ["logs.nowhere.test"] * 4
    reasons = [record.reason for record in caplog.records if "not served" in record.message]
    assert reasons == [f"dialling logs.nowhere.test port {server.port}: Name or service not known"]


async def test_a_name_server_that_hangs_holds_one_thread_and_nobody_else(directory, writer, known, monkeypatch, caplog):
    monkeypatch.setattr(syslog_outlet, "DIAL_S", 0.05)
    hang, inside = threading.Event(), []

    def resolve(host, port, **options):
        if host == "slow.test":
            inside.append(host)
            hang.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(syslog_outlet, "getaddrinfo", resolve)
    job = writer(1)
    try:
        async with log_server() as server, sending(directory, known):
            slow = known.add("syslog://slow.test", "slow")
            await until(lambda: inside)
            known.add(f"syslog://fast.test:{server.port}", "fast")
            job.print("hello")
            await server.has("hello")
            await trio.sleep(0.5)  # a few more attempts
            assert len(inside) == 1
            known.remove(slow)
            await until(lambda: was_stopped(caplog))
    finally:
        hang.set()


async def test_a_sink_is_deleted_while_it_sends(directory, writer, known, caplog):
    job = writer(1)
    job.write(b"".join(job.record(b"x" * 100) for _ in range(50_000)))
    async with log_server() as server, sending(directory, known):
        sink = known.add(f"syslog://127.0.0.1:{server.port}")
        await until(lambda: server.got and len(server.got[0]) > 100_000)
        known.remove(sink)
        await until(lambda: was_stopped(caplog))
        size = len(server.got[0])
        assert size < 50_000 * 100
        await trio.sleep(0.1)
        assert len(server.got[0]) <= size + 512 * 1024  # what the kernels had already
        again = known.add(f"syslog://127.0.0.1:{server.port}")
        assert again == sink
        await until(lambda: len(server.got) == 2 and len(server.got[1]) > 0)
        assert text_of(unframed(bytes(server.got[1]))[0]) == "x" * 100  # a new sink begins anew


async def test_what_retention_gave_up_is_counted_and_said(directory, writer, known, monkeypatch, caplog):
    monkeypatch.setattr(sender, "SAVE_S", 0.05)
    job, gone = writer(1), writer(2)
    port = 0
    async with log_server() as server:
        port = server.port
    async with sending(directory, known):
        known.add(f"syslog://127.0.0.1:{port}")
        job.write(b"".join(job.record(b"%d" % number) for number in range(5000)))
        gone.print("nobody reads this")
        await trio.sleep(0.2)
        carry_out(Plan(delete=[gone.path.name], punch={job.path.name: 128 * 1024}), directory)
        async with log_server(port=port) as server:
            await until(lambda: "4999" in server.texts)
            await until(lambda: len([message for message in server.messages if b" ID3 " in message]) == 2)
            await until(lambda: any("too far behind" in record.message for record in caplog.records))
    said = sorted(text_of(message) for message in server.messages if b" ID3 " in message)
    assert said == [
        "131072 bytes of output were given up here before this log sink took it",
        "a file of output was given up here before this log sink took it",
    ]
    lines = [text for text in server.texts if text.isdigit()]
    assert lines == numbers(5000 - len(lines), 5000)
    [warning] = [record for record in caplog.records if "too far behind" in record.message]
    assert (warning.bytes, warning.files) == (131072, 1)


async def test_a_config_of_another_version_stops_nobody(directory, writer, known, caplog):
    writer(1).print("hello")
    async with log_server() as server, sending(directory, known):
        known.add("http://logs.example.com", "strange")
        known.add(f"syslog://127.0.0.1:{server.port}", "good")
        await server.has("hello")
    assert any("not understood" in record.message for record in caplog.records)


async def test_the_diary_has_a_line_when_a_sink_fails_and_one_when_it_is_well(
    directory, writer, known, monkeypatch, caplog
):
    monkeypatch.setattr(sender, "SAVE_S", 0.02)
    monkeypatch.setattr(sender, "STEADY_S", 0.1)
    job = writer(1)
    job.print("hello")

    def said():
        return [record.message for record in caplog.records if record.message.startswith("log sink")]

    async with log_server() as server:
        port = server.port
    async with sending(directory, known):
        known.add(f"syslog://127.0.0.1:{port}")
        await until(said)
        await trio.sleep(0.3)  # a few more attempts
        assert said() == ["log sink not served, trying again"]
        async with log_server(port=port) as server:
            await server.has("hello")
            await until(lambda: "log sink served again" in said())
        job.print("is anybody there?")
        await until(lambda: len(said()) > 2)
    assert said()[2] == "log sink not served, trying again"


async def test_sinks_rest_as_long_as_they_work(autojump_clock):
    """A flood of output takes half of the processor at most, however many sinks there are."""
    at = []

    async def work(blocking):
        at.append(trio.current_time())
        await trio.sleep(2)
        return blocking()

    async with trio.open_nursery() as nursery:
        run = sinks._resting(work)
        for _ in range(3):
            nursery.start_soon(run, lambda: None)
    assert [moment - at[0] for moment in at] == pytest.approx([0, 4, 8])
