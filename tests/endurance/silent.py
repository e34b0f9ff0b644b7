"""Thousands of connections that never finish their handshake, and how soon new good ones are served
beside them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import resource
import socket
import ssl
import tempfile
import time
from pathlib import Path

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, Stub
from tests.certificates import Certificates
from tests.endurance.programs import report_of, run, say, serving, stdin_ends

KINDS = "silent", "tls"


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(folder: str, timeout: float) -> None:
    """Print the port, and serve until standard input ends."""
    raise_limit()
    tls = None
    if folder != "silent":
        tls = gyr.ServerTLS(Path(folder, "server.pem"), Path(folder, "server.key"))
    async with gyr.Server([Calls(unary=echo)], tls=tls, handshake_timeout=timeout) as server:
        print(await server.listen("127.0.0.1:0"), flush=True)
        await stdin_ends()


def first_flight() -> bytes:
    """What a client of TLS begins with."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    sent = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return sent.read()


async def call_beside(port: int, folder: str, count: int, calls: int) -> None:
    """Open that many connections, make calls on new connections, and wait until the server has
    dropped all that did not finish; print the seconds."""
    raise_limit()
    tls = None if folder == "silent" else gyr.ClientTLS(Path(folder, "ca.pem"))
    # Each gets an answer that it never reacts to.
    begun = b"" if tls is None else first_flight()

    async def call() -> float:
        start = time.monotonic()
        async with gyr.Channel(f"localhost:{port}", tls=tls) as channel:
            await Stub(channel).unary(BytesValue(value=b"x"), timeout=60)
        return time.monotonic() - start

    await call()
    began = time.monotonic()
    unfinished = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port))
        one.setblocking(False)
        one.send(begun)
        unfinished.append(one)
    opening = time.monotonic() - began
    first = await call()
    seconds = sorted([await call() for _ in range(calls)])
    loop = asyncio.get_running_loop()
    for one in unfinished:
        while await loop.sock_recv(one, 4096):
            pass
        one.close()
    say(
        {
            "opening": opening,
            # Behind all of them in the kernel's queue, too.
            "first": first,
            "median": seconds[len(seconds) // 2],
            "slowest": seconds[-1],
            "gone": time.monotonic() - began,
        }
    )


def measure(loop: str, kind: str, count: int, timeout: float, calls: int) -> dict[str, float]:
    """Both programs; the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        where = kind
        if kind == "tls":
            Certificates(Path(folder))
            where = folder
        with serving("silent", loop, "serve", where, timeout) as port:
            seconds: dict[str, float] = report_of("silent", loop, "call", port, where, count, calls)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("loop")
    parser.add_argument("role", choices=["serve", "call", "measure"])
    parser.add_argument("rest", nargs="*")
    options = parser.parse_args()
    rest = options.rest
    if options.role == "serve":
        run(serve(rest[0], float(rest[1])), options.loop)
    elif options.role == "call":
        run(call_beside(int(rest[0]), rest[1], int(rest[2]), int(rest[3])), options.loop)
    else:
        count, timeout, calls = rest or ("5000", "20", "200")
        for kind in KINDS:
            say({kind: measure(options.loop, kind, int(count), float(timeout), int(calls))})


if __name__ == "__main__":
    main()
