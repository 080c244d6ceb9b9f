"""An app with a bit of everything. Each answer begins with the job, the release and the token it was asked with.

    GET  /say/TOKEN             at once
    POST /sum/TOKEN             the SHA-1 of the body behind it
    GET  /drip/TOKEN?SECONDS    ten lines over so many seconds, chunked
    GET  /echo/TOKEN            a WebSocket: a greeting, then every text comes back

It does nothing about SIGTERM, so whoever is still talking to it then is cut off: that is what is to be found out.
"""

import asyncio
import base64
import hashlib
import os

JOB = f"{os.environ.get('FLYNN_JOB_ID', '-')} {os.environ.get('FLYNN_RELEASE_ID', '-')}"
PIECES = 10
BACKLOG = 1024
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, CLOSE = 1, 8


async def serve(reader, writer):
    """Answer the requests of one connection, one after the other."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = line.split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
            body = await read_body(reader, fields)
            path, _, query = target.partition("?")
            _, what, token = path.split("/")
            said = f"{JOB} {token}"
            if what == "echo":
                await echo(reader, writer, fields["sec-websocket-key"].encode(), said)
                return
            if what == "drip":
                await drip(writer, said, float(query))
            else:
                more = f" {hashlib.sha1(body).hexdigest()}" if method == "POST" else ""
                text = f"{said}{more}\n".encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


async def read_body(reader, fields):
    if "chunked" not in fields.get("transfer-encoding", ""):
        return await reader.readexactly(int(fields.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def drip(writer, said, seconds):
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for number in range(PIECES):
        piece = f"{said} {number}\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await asyncio.sleep(seconds / PIECES)
    writer.write(b"0\r\n\r\n")


async def echo(reader, writer, key, said):
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept
    )
    writer.write(frame(TEXT, said.encode()))
    while True:
        first, length = await reader.readexactly(2)
        if (length := length & 0x7F) == 126:
            length = int.from_bytes(await reader.readexactly(2))
        mask = await reader.readexactly(4)
        masked = await reader.readexactly(length)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        writer.write(frame(first & 0x0F, text))
        await writer.drain()
        if first & 0x0F == CLOSE:
            return


def frame(kind, data):
    return bytes([0x80 | kind, len(data)]) + data  # greetings and echoes here are shorter than 126 bytes


async def main():
    host, port = os.environ.get("EXTERNAL_IP", "0.0.0.0"), int(os.environ["PORT"])
    server = await asyncio.start_server(serve, host, port, backlog=BACKLOG)
    await server.serve_forever()


asyncio.run(main())
