"""One server process of a soak.

    python -m tests.endurance.soak.servers asyncio|threads|grpcio ADDRESS

Prints samples and, when its standard input has ended and it has stopped, what is left.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls
from tests.endurance.programs import run
from tests.endurance.soak.contract import (
    FAIL,
    KEY,
    METHODS,
    SERVICE,
    WAIT,
    answer,
    boxed,
    join,
    repeat,
)
from tests.endurance.soak.figures import Figures, holding, obey, write

WORKERS = 8
# What a call that is left waits for at most when a server stops.
GRACE_S = 2.0


def echo_metadata(ctx: gyr.ServerContext) -> None:
    """Trailing metadata like the request's, so that a client sees whose answer it got."""
    if KEY in ctx.metadata:
        ctx.trailing_metadata[KEY] = ctx.metadata[KEY]


def check(request: BytesValue) -> bool:
    """Whether the handler shall wait; raises if it shall fail."""
    if request.value.startswith(FAIL):
        raise gyr.NotFound("as asked", trailing_metadata={KEY: "failed"})
    return request.value.startswith(WAIT)


# ---------------------------------------------------------------------- async def


async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    echo_metadata(ctx)
    if check(request):
        await asyncio.Event().wait()
    return boxed(answer(request.value))


async def server_stream(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    echo_metadata(ctx)
    wait = check(request)
    for one in repeat(request.value):
        yield boxed(one)
    if wait:
        await asyncio.Event().wait()


async def client_stream(
    requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
) -> BytesValue:
    echo_metadata(ctx)
    return boxed(join([one.value async for one in requests]))


async def bidi(
    requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    echo_metadata(ctx)
    number = 0
    async for one in requests:
        yield boxed(answer(one.value, number))
        number += 1


def serve_on_loop(address: str) -> None:
    run(serve_async(address), "uvloop")


async def serve_async(address: str) -> None:
    # uvloop keeps a spare descriptor for accept.
    async with gyr.Server([]) as first:
        await first.listen("127.0.0.1:0")
    before = holding()
    figures = Figures()
    figures.loop = asyncio.get_running_loop()
    handlers = {"unary": unary, "server_stream": server_stream}
    service = Calls(**handlers, client_stream=client_stream, bidi=bidi)
    server = gyr.Server([service], grace=GRACE_S)
    await server.listen(address)
    figures.start()
    write({"ready": True})
    await asyncio.to_thread(obey, figures)
    await server.stop()
    left = len(asyncio.all_tasks()) - 1
    figures.finish(before, tasks_left=left, connections_left=len(server._drivers))


# ---------------------------------------------------------------------- def


def unary_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    echo_metadata(ctx)
    check(request)
    return boxed(answer(request.value))


def server_stream_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    echo_metadata(ctx)
    check(request)
    for one in repeat(request.value):
        yield boxed(one)


def client_stream_in_thread(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    echo_metadata(ctx)
    return boxed(join(one.value for one in requests))


def bidi_in_thread(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> Iterator[BytesValue]:
    echo_metadata(ctx)
    for number, one in enumerate(requests):
        yield boxed(answer(one.value, number))


def serve_threads(address: str) -> None:
    with gyr.blocking.Server([]) as first:
        first.listen("127.0.0.1:0")
    before = holding()
    figures = Figures()
    service = Calls(
        unary=unary_in_thread, server_stream=server_stream_in_thread,
        client_stream=client_stream_in_thread, bidi=bidi_in_thread,
    )  # fmt: skip
    with gyr.blocking.Server([service], max_workers=WORKERS, grace=GRACE_S) as server:
        server.listen(address)
        figures.start()
        write({"ready": True})
        obey(figures)
    figures.finish(before)


# ---------------------------------------------------------------------- grpcio


class Stock:
    """The same by grpcio."""

    def prepare(self, request: BytesValue, ctx: grpc.ServicerContext) -> None:
        self.echo(ctx)
        if request.value.startswith(FAIL):
            ctx.abort(grpc.StatusCode.NOT_FOUND, "as asked")

    @staticmethod
    def echo(ctx: grpc.ServicerContext) -> None:
        sent = [pair for pair in ctx.invocation_metadata() if pair[0] == KEY]
        ctx.set_trailing_metadata(tuple(sent))

    def unary(self, request: BytesValue, ctx: Any) -> BytesValue:
        self.prepare(request, ctx)
        return boxed(answer(request.value))

    def server_stream(self, request: BytesValue, ctx: Any) -> Iterator[BytesValue]:
        self.prepare(request, ctx)
        for one in repeat(request.value):
            yield boxed(one)

    def client_stream(self, requests: Iterator[BytesValue], ctx: Any) -> BytesValue:
        self.echo(ctx)
        return boxed(join(one.value for one in requests))

    def bidi(self, requests: Iterator[BytesValue], ctx: Any) -> Iterator[BytesValue]:
        self.echo(ctx)
        for number, one in enumerate(requests):
            yield boxed(answer(one.value, number))


def serve_grpcio(address: str) -> None:
    before = holding()
    figures = Figures()
    makers = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    stock = Stock()
    handlers = {
        method.name: makers[method.pattern.client_streaming, method.pattern.server_streaming](
            getattr(stock, method.attribute), BytesValue.FromString, BytesValue.SerializeToString
        )
        for method in METHODS
    }
    server = grpc.server(ThreadPoolExecutor(4 * WORKERS), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    if not server.add_insecure_port(address):
        sys.exit(f"grpcio cannot listen on {address}")
    server.start()
    figures.start()
    write({"ready": True})
    obey(figures)
    server.stop(GRACE_S).wait()
    figures.finish(before)


KINDS = {"asyncio": serve_on_loop, "threads": serve_threads, "grpcio": serve_grpcio}


def main() -> None:
    kind, address = sys.argv[1:]
    threading.current_thread().name = "main"
    KINDS[kind](address)


if __name__ == "__main__":
    main()
