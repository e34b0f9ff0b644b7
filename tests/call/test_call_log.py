"""What the server's log says of calls."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls, collect, message, serving
from tests.interop.raw import frame, raw_client

pytestmark = pytest.mark.anyio

ADDRESS = re.compile(r"ipv4:[\d.]+:\d+")
DURATION = re.compile(r"\d+\.\d{3} ms")


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


async def stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    yield request
    raise gyr.NotFound("gone\nINFO all is well" if request.value else "gone")


def echo_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    raise gyr.Aborted("in a thread")


async def broken(requests: Any, ctx: gyr.ServerContext) -> BytesValue:
    raise KeyError("a secret")


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[str]:
    """What a logger said at INFO, without what differs from run to run."""
    return [
        DURATION.sub("N ms", ADDRESS.sub("PEER", record.getMessage()))
        for record in caplog.records
        if record.name == logger and record.levelno == logging.INFO
        if not record.getMessage().startswith("listening")
    ]


@pytest.fixture(autouse=True)
def at_info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon")


async def make_calls(server_options: dict[str, Any]) -> None:
    """Two good calls and four that fail."""
    async with serving(
        server_options, unary=echo, server_stream=stream, client_stream=broken, bidi=echo_in_thread
    ) as stub:
        await stub.unary(message())
        for call in (stub.server_stream(message()), stub.server_stream(message(b"forge"))):
            with pytest.raises(gyr.NotFound):
                await collect(call)
        with pytest.raises(gyr.Unknown):
            await stub.client_stream([])
        with pytest.raises(gyr.Aborted):
            await collect(stub.bidi([]))
        await stub.unary(message())


INSIDE = "/tests.Calls/ClientStream failed: an error inside the server"
FAILURES = [
    "/tests.Calls/ServerStream from PEER failed: NOT_FOUND 'gone'",
    r"/tests.Calls/ServerStream from PEER failed: NOT_FOUND 'gone\nINFO all is well'",
    f"/tests.Calls/ClientStream from PEER failed: UNKNOWN {INSIDE!r}",
    "/tests.Calls/Bidi from PEER failed: ABORTED 'in a thread'",
]


async def test_every_call_that_failed_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    await make_calls({})
    assert lines(caplog, "gyrfalcon.server") == FAILURES
    assert lines(caplog, "gyrfalcon.access") == []


async def test_every_call_has_a_line_in_the_access_log_that_is_switched_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await make_calls({"access_log": True})
    assert lines(caplog, "gyrfalcon.server") == FAILURES
    assert lines(caplog, "gyrfalcon.access") == [
        'PEER "/tests.Calls/Unary" OK N ms',
        "PEER \"/tests.Calls/ServerStream\" NOT_FOUND N ms 'gone'",
        r"""PEER "/tests.Calls/ServerStream" NOT_FOUND N ms 'gone\nINFO all is well'""",
        f'PEER "/tests.Calls/ClientStream" UNKNOWN N ms {INSIDE!r}',
        "PEER \"/tests.Calls/Bidi\" ABORTED N ms 'in a thread'",
        'PEER "/tests.Calls/Unary" OK N ms',
    ]
    record = next(one for one in caplog.records if one.name == "gyrfalcon.access")
    fields = vars(record)
    assert (fields["method"], fields["code"]) == ("/tests.Calls/Unary", "OK")
    assert ADDRESS.fullmatch(fields["peer"])
    assert 0 < fields["seconds"] < 30


async def test_below_info_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "gyrfalcon")
    await make_calls({"access_log": True})
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_calls_that_reach_no_handler_have_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with gyr.Server([Calls(unary=echo)], access_log=True) as server:
        port = await server.listen("127.0.0.1:0")
        async with raw_client(port) as connection:
            await connection.request(pseudo_path="/no/" + "x" * 2000)
            await connection.request(content_type="application/grpc+xml")
            await connection.request(grpc_timeout="0n")
            await connection.request(grpc_timeout="soon")
            await connection.request(grpc_encoding="snappy")
            await connection.request(pseudo_method="GET", body=None)
            await connection.request(body=None)
            await connection.request(frame(b""))
    access = lines(caplog, "gyrfalcon.access")
    assert [line.split(" N ms")[0] for line in access[1:]] == [
        'PEER "/tests.Calls/Unary" UNIMPLEMENTED',
        'PEER "/tests.Calls/Unary" DEADLINE_EXCEEDED',
        'PEER "/tests.Calls/Unary" INTERNAL',
        'PEER "/tests.Calls/Unary" UNIMPLEMENTED',
        'PEER "/tests.Calls/Unary" no call',
        'PEER "/tests.Calls/Unary" UNIMPLEMENTED',
        'PEER "/tests.Calls/Unary" OK',
    ]
    assert access[0].startswith('PEER "/no/')
    assert len(access[0]) < 1500
    assert all(line.isprintable() for line in access)
    assert len(lines(caplog, "gyrfalcon.server")) == len(access) - 1


async def test_a_call_that_its_client_gave_up_is_cancelled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = asyncio.Event()
    over = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            over.set()
        return request

    async with serving({"access_log": True}, unary=wait) as stub:
        call = stub.unary(message())
        await running.wait()
        call.cancel()
        await over.wait()
        with pytest.raises(gyr.DeadlineExceeded):
            await stub.unary(message(), timeout=0.05)
    assert lines(caplog, "gyrfalcon.access") == [
        "PEER \"/tests.Calls/Unary\" CANCELLED N ms 'the client cancelled the call or is gone'",
        *lines(caplog, "gyrfalcon.access")[1:],
    ]
    # Whether the server's clock or the client's reset came first is a matter of luck.
    assert len(lines(caplog, "gyrfalcon.access")) == 2
    assert re.search("DEADLINE_EXCEEDED|CANCELLED", lines(caplog, "gyrfalcon.access")[1])


async def test_calls_that_the_stopping_server_ends_have_a_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = asyncio.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        running.set()
        await asyncio.Event().wait()
        return request

    async with serving({"access_log": True, "grace": 0}, unary=wait) as stub:
        call = stub.unary(message())
        await running.wait()
        await stub.served.server.stop()
        with pytest.raises(gyr.Cancelled):
            await call
    assert lines(caplog, "gyrfalcon.access") == [
        "PEER \"/tests.Calls/Unary\" CANCELLED N ms 'the server shuts down'"
    ]
