"""The server of gRPC's interoperability tests, on stock grpcio: the service is that of `server`.

python -m tests.interop.grpcio_server --port=8080 [--use_tls] [--face=aio|blocking]
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio

from gyrfalcon.services import LoadReport, Orca
from gyrfalcon.services.orca import orca_pb2
from tests.interop import flags
from tests.interop.bindings import SERVED, ThreadLock, async_handler, thread_handler
from tests.interop.faces import Pair
from tests.interop.grpcio_faces import pairs
from tests.interop.service import TestService

OrcaLoadReportRequest = orca_pb2.OrcaLoadReportRequest

THREADS = 16
GRACE_S = 1.0
LOAD_INTERVAL_S = 0.1


class GrpcContext:
    """What both faces have in common. Neither tells whether a message came compressed."""

    request_compressed = None

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._trailing: list[Pair] = []
        self._compressing = False

    @property
    def metadata(self) -> list[Pair]:
        return pairs(self._ctx.invocation_metadata())

    def add_trailing(self, key: str, value: str | bytes) -> None:
        self._trailing.append((key, value))
        self._ctx.set_trailing_metadata(tuple(self._trailing))

    def report(self, report: LoadReport) -> None:
        self.add_trailing(LoadReport.KEY, report.to_message().SerializeToString())

    async def use_compression(self) -> None:
        self._ctx.set_compression(grpc.Compression.Gzip)
        self._compressing = True

    def compress(self, compress: bool) -> None:
        if self._compressing and not compress:
            self._ctx.disable_next_message_compression()


def status(code: int) -> grpc.StatusCode:
    (found,) = (one for one in grpc.StatusCode if one.value[0] == code)
    return found


class AioContext(GrpcContext):
    async def use_compression(self) -> None:
        await super().use_compression()
        # Unary replies take it on only where the head of the response goes first.
        await self._ctx.send_initial_metadata(())

    async def send_initial(self, pairs: list[Pair]) -> None:
        await self._ctx.send_initial_metadata(tuple(pairs))

    async def fail(self, code: int, message: str) -> None:
        await self._ctx.abort(status(code), message, tuple(self._trailing))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ThreadContext(GrpcContext):
    async def send_initial(self, pairs: list[Pair]) -> None:
        self._ctx.send_initial_metadata(tuple(pairs))

    async def fail(self, code: int, message: str) -> None:
        self._ctx.abort(status(code), message)

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - a thread of its own


class Load:
    """What is reported beside the calls; grpcio has no service for it."""

    def __init__(self) -> None:
        self._report = LoadReport().to_message()

    def set(self, report: LoadReport) -> None:
        self._report = report.to_message()

    async def stream_core_metrics(self, request: OrcaLoadReportRequest, ctx: Any) -> Any:
        asked = request.report_interval
        while True:
            yield self._report
            await ctx.sleep(max(asked.seconds + asked.nanos / 1e9, LOAD_INTERVAL_S))


def add_services(server: Any, make: Callable[..., Any], context: Any, lock: Any) -> None:
    load = Load()
    service = TestService(load.set, lock)
    for methods, target in ((SERVED, service), (Orca.__gyr_service__.methods, load)):
        handlers = {}
        for method in methods:
            wrap = getattr(grpc, f"{method.pattern.name.lower()}_rpc_method_handler")
            handlers[method.name] = wrap(
                make(target, method, context),
                request_deserializer=method.request.FromString,
                response_serializer=method.response.SerializeToString,
            )
        name = methods[0].service
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))


def listen(server: Any, address: str, credentials: grpc.ServerCredentials | None) -> int:
    port: int = (
        server.add_insecure_port(address)
        if credentials is None
        else server.add_secure_port(address, credentials)
    )
    return port


async def serve_aio(address: str, credentials: grpc.ServerCredentials | None) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    server = grpc.aio.server()
    lock = asyncio.Lock()
    add_services(server, async_handler, AioContext, lambda: lock)
    port = listen(server, address, credentials)
    await server.start()
    flags.announce(port)
    await over.wait()
    await server.stop(GRACE_S)


def serve_blocking(address: str, credentials: grpc.ServerCredentials | None) -> None:
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    server = grpc.server(ThreadPoolExecutor(THREADS))
    add_services(server, thread_handler, ThreadContext, ThreadLock())
    port = listen(server, address, credentials)
    server.start()
    flags.announce(port)
    signal.sigwait(signals)
    server.stop(GRACE_S).wait()


def main() -> None:
    arguments = flags.server_parser(__doc__, ("aio", "blocking")).parse_args()
    credentials: grpc.ServerCredentials | None = None
    if arguments.use_tls:
        certificate, key = flags.server_certificate(arguments)
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    address = f"{arguments.host}:{arguments.port}"
    if arguments.face == "blocking":
        serve_blocking(address, credentials)
    else:
        asyncio.run(serve_aio(address, credentials))


if __name__ == "__main__":
    main()
