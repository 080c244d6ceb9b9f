"""`python -m bench.follow PORT HOST CA_FILE COUNT`: clients that follow the events of apps, as dashboards do; they
come one after the other.

The key comes on standard input. Prints `ready` when all of them follow; when standard input ends, prints how many
events the one with the fewest has seen, and ends.
"""

import asyncio
import base64
import ssl
import sys


async def follow(
    port: int, host: str, context: ssl.SSLContext, key: str, seen: list[int], number: int, began: asyncio.Event
) -> None:
    """Have one stream and count its events."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    basic = base64.b64encode(f":{key}".encode()).decode()
    writer.write(
        f"GET /events?object_types=app HTTP/1.1\r\nHost: {host}\r\nAuthorization: Basic {basic}\r\n"
        "Accept: text/event-stream\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    began.set()
    while data := await reader.read(65536):
        seen[number] += data.count(b"data: {")
    raise ConnectionError("an event stream ended")


async def run(port: int, host: str, ca_file: str, count: int) -> int:
    """Follow until standard input ends; return the fewest events anybody has seen."""
    loop = asyncio.get_running_loop()
    key = (await loop.run_in_executor(None, sys.stdin.readline)).strip()
    context = ssl.create_default_context(cafile=ca_file)
    seen = [0] * count
    tasks = []
    for number in range(count):
        began = asyncio.Event()
        tasks.append(asyncio.create_task(follow(port, host, context, key, seen, number, began)))
        await asyncio.wait_for(began.wait(), 30)  # handshakes at one moment would take 30 kB each, and keep it
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in tasks:
        assert not task.done(), task.exception()
        task.cancel()
    return min(seen)


if __name__ == "__main__":
    words = sys.argv[1:]
    print(asyncio.run(run(int(words[0]), words[1], words[2], int(words[3]))), flush=True)
