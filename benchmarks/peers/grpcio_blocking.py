"""grpcio's blocking API: a thread pool on the server, threads that wait on the client."""

from __future__ import annotations

import functools
import itertools
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc

from benchmarks import payloads
from benchmarks.peers import callers
from benchmarks.peers.drive import Turns
from benchmarks.peers.grpc_aio import SERVER_OPTIONS
from benchmarks.peers.program import WORKERS, Load, parse, report
from benchmarks.protos import bench_pb2_grpc
from benchmarks.protos.bench_pb2 import Chunk, Order, Receipt, Total, Wish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Bench(bench_pb2_grpc.BenchServicer):
    def Buy(self, request: Order, context: grpc.ServicerContext) -> Receipt:
        return Receipt(
            order_id=request.id,
            total=request.quantity * request.price,
            text=f"{request.quantity} x {request.item}",
        )

    def Download(self, request: Wish, context: grpc.ServicerContext) -> Iterator[Chunk]:
        chunk = payloads.chunk(request.size)
        for _ in range(request.count):
            yield chunk

    def Upload(self, request_iterator: Iterator[Chunk], context: grpc.ServicerContext) -> Total:
        count = size = 0
        for chunk in request_iterator:
            count += 1
            size += len(chunk.data)
        return Total(count=count, size=size)

    def Chat(
        self, request_iterator: Iterator[Chunk], context: grpc.ServicerContext
    ) -> Iterator[Chunk]:
        yield from request_iterator


def serve() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS), options=SERVER_OPTIONS)
    bench_pb2_grpc.add_BenchServicer_to_server(Bench(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(grace=None).wait()


def unary(stub: bench_pb2_grpc.BenchStub, load: Load, turns: Turns) -> int:
    """Keeps `in_flight` calls going through futures: as many threads would fight over the GIL."""
    left, lock = iter(turns), threading.Lock()
    ended = threading.Semaphore(0)
    failures: list[BaseException] = []

    def start() -> None:
        with lock:
            turn = next(left, None)
        if turn is None:
            ended.release()
        else:
            stub.Buy.future(payloads.ORDER).add_done_callback(finish)

    def finish(future: grpc.Future) -> None:
        if failure := future.exception():
            failures.append(failure)
            ended.release()
        else:
            start()

    for _ in range(load.in_flight):
        start()
    for _ in range(load.in_flight):
        ended.acquire()
    if failures:
        raise failures[0]
    return turns.taken


def download(stub: bench_pb2_grpc.BenchStub, load: Load, turns: Turns) -> int:
    wish = Wish(count=load.count, size=load.size)
    return sum(sum(1 for _ in stub.Download(wish)) for _ in turns)


def upload(stub: bench_pb2_grpc.BenchStub, load: Load, turns: Turns) -> int:
    chunk = payloads.chunk(load.size)
    return sum(stub.Upload(itertools.repeat(chunk, load.count)).count for _ in turns)


def chat(stub: bench_pb2_grpc.BenchStub, load: Load, turns: Turns) -> int:
    chunk = payloads.chunk(load.size)
    outgoing: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
    replies = stub.Chat(iter(outgoing.get, None))
    for _ in turns:
        outgoing.put(chunk)
        next(replies)
    outgoing.put(None)
    if (surplus := next(replies, None)) is not None:
        raise AssertionError(f"a reply that no chunk asked for: {surplus!r}")
    return turns.taken


LOADS: dict[str, Callable[[bench_pb2_grpc.BenchStub, Load, Turns], int]] = {
    "unary": unary,
    "download": download,
    "upload": upload,
    "chat": chat,
}


def call(load: Load) -> dict[str, float]:
    with grpc.insecure_channel(load.target) as channel:
        stub = bench_pb2_grpc.BenchStub(channel)
        reply = stub.Buy(payloads.ORDER)
        if reply != payloads.RECEIPT:
            raise AssertionError(f"the server answered {reply!r}")
        if load.kind == "latency":
            return callers.latency(stub.Buy, load)
        work: Callable[[Load, Turns], int]
        if load.kind == "threads":
            work = functools.partial(callers.from_threads, stub.Buy)
        else:
            work = functools.partial(LOADS[load.kind], stub)
        if load.calls:
            return callers.throughput(work, load, None)
        callers.throughput(work, load, load.warm_up)
        return callers.throughput(work, load, load.seconds)


if __name__ == "__main__":
    verb, _, load = parse()
    if verb == "serve":
        serve()
    else:
        report(call(load))
