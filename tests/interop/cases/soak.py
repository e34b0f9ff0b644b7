"""The soak cases: one large call after the other, on one channel or each on a new one."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.interop.faces import CallFailed, Client, Face
from tests.interop.protos.grpc.testing.messages_pb2 import SimpleRequest

from .words import LARGE_REPLY, LARGE_REQUEST, METHODS, CaseFailed, expect_zeros, zeros


@dataclass(frozen=True)
class SoakOptions:
    """The flags that the descriptions give to soaking clients, with their defaults."""

    iterations: int = 10
    max_failures: int = 0
    per_iteration_max_acceptable_latency_ms: int = 1000
    overall_timeout_seconds: int = 10
    min_time_ms_between_rpcs: int = 0
    request_size: int = LARGE_REQUEST
    response_size: int = LARGE_REPLY
    num_threads: int = 1


class Soak:
    """A run of one of the two cases. Its threads, or tasks, share nothing but the lists here."""

    def __init__(self, face: Face, options: SoakOptions, shared: Client | None) -> None:
        self._face = face
        self._options = options
        self._shared = shared
        self._end = time.monotonic() + options.overall_timeout_seconds
        self.done: list[float] = []
        self.failures: list[str] = []

    async def iterate(self, thread: int) -> None:
        options = self._options
        for _ in range(options.iterations // options.num_threads):
            started = time.monotonic()
            if started >= self._end:
                return
            try:
                await self._call()
            except (CallFailed, CaseFailed) as error:
                self.failures.append(str(error))
            taken_ms = (time.monotonic() - started) * 1000
            self.done.append(taken_ms)
            if taken_ms > options.per_iteration_max_acceptable_latency_ms:
                self.failures.append(f"an iteration of thread {thread} took {taken_ms:.0f} ms")
            if (rest := options.min_time_ms_between_rpcs - taken_ms) > 0:
                await self._face.sleep(rest / 1000)

    async def _call(self) -> None:
        options = self._options
        request = SimpleRequest(
            response_size=options.response_size, payload=zeros(options.request_size)
        )
        async with AsyncExitStack() as stack:
            client = self._shared
            if client is None:
                client = await stack.enter_async_context(self._face.client())
            left = max(self._end - time.monotonic(), 0.001)
            reply = await client.unary(METHODS["UnaryCall"], request, timeout=left)
        expect_zeros("the reply's payload", reply.payload, options.response_size)


async def run(face: Face, options: SoakOptions, shared: Client | None) -> None:
    if options.num_threads < 1 or options.iterations % options.num_threads:
        raise CaseFailed(
            f"soak_iterations={options.iterations} cannot be shared by "
            f"soak_num_threads={options.num_threads}"
        )
    soak = Soak(face, options, shared)
    await face.together(options.num_threads, soak.iterate)
    if len(soak.done) < options.iterations:
        raise CaseFailed(
            f"{len(soak.done)} of {options.iterations} iterations in "
            f"{options.overall_timeout_seconds} s"
        )
    if len(soak.failures) > options.max_failures:
        raise CaseFailed(f"{len(soak.failures)} failures, the first: {soak.failures[0]}")


async def rpc_soak(face: Face, options: SoakOptions) -> None:
    async with face.client() as client:
        await run(face, options, client)


async def channel_soak(face: Face, options: SoakOptions) -> None:
    await run(face, options, None)


CASES: dict[str, Callable[[Face, SoakOptions], Awaitable[None]]] = {
    case.__name__: case for case in (rpc_soak, channel_soak)
}
