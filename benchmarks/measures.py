"""The kinds of measurement, each with one way of taking a turn."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from benchmarks import certificate, h2load
from benchmarks.processes import Program, ProgramFailed, cores, run
from benchmarks.roster import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.roster import Peer

SERVICE = "/gyrfalcon.bench.Bench"
IMPORTS = 7
"""Fresh interpreters in one turn."""
IMPORT_PROGRAM = """
import time, asyncio, google.protobuf
began = time.perf_counter()
{0}
imported = time.perf_counter()
{1}
used = time.perf_counter()
print(1e3 * (imported - began), 1e3 * (used - began))
"""
MANY = 1_000
"""As many turns as are asked for."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a scenario yields."""

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"] = "higher"
    drawn: bool = True
    """in the picture"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure in one turn."""

    seconds: float
    warm_up: float

    @property
    def patience(self) -> float:
        """Seconds after which a load is given up: a slow peer must finish what is in flight."""
        return 60 + 10 * (self.seconds + self.warm_up)


Turn = Callable[[Pace], dict[str, float]]
"""Measures once: values by the figures' names, and what else is worth keeping."""


class Scenario(Protocol):
    """Something to measure."""

    @property
    def name(self) -> str: ...

    @property
    def figures(self) -> tuple[Figure, ...]: ...

    @property
    def most_turns(self) -> int:
        """More would tell nothing new."""
        ...

    def ready(self, peer: Peer) -> AbstractContextManager[Turn]:
        """Keeps what is needed running between the turns of one peer."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """The running server of a peer."""

    peer: Peer
    program: Program
    port: int


@contextlib.contextmanager
def served(peer: Peer, *options: str) -> Iterator[Served]:
    with started(peer, *peer.program, "serve", *options) as server:
        yield Served(peer, server, int(server.line()))


def peer_named(name: str) -> Peer | None:
    """The peer of that name; None without one."""
    return next((peer for peer in PEERS if peer.name == name), None)


def started(peer: Peer, *command: str) -> Program:
    return Program(command, cores()[0], peer.environment)


def call(server: Served, pace: Pace, *load: str, client_of: Peer | None = None) -> dict[str, float]:
    """Run the client of the server's peer, or of another, once; what it measured."""
    peer = client_of or server.peer
    command = (
        *peer.program,
        "call",
        *load,
        *("--port", str(server.port)),
        *("--seconds", str(pace.seconds)),
        *("--warm-up", str(pace.warm_up)),
    )
    with Program(command, cores()[1], peer.environment) as client:
        if not (output := client.rest(pace.patience, peer.exits)):
            raise ProgramFailed(f"{client.name} printed no result: {client.last_words()}")
    result: dict[str, float] = json.loads(output)
    return result


@dataclass(frozen=True, slots=True)
class Neutral:
    """h2load, which only counts bytes, against the peer's server."""

    figure: Figure
    method: str
    body: bytes
    message: bytes
    """that the server sends, in its frame"""
    connections: int
    streams: int
    messages: int = 1
    """in one response"""
    headers: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    """options of the server's program"""
    tls: bool = False
    most_turns: int = MANY

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.figure,)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        if reason := h2load.missing():
            raise ProgramFailed(reason)
        with (
            certificate.made() if self.tls else contextlib.nullcontext(()) as options,
            served(peer, *self.serve, *options) as server,
        ):
            load = self.load(server.port)

            def turn(pace: Pace) -> dict[str, float]:
                rate = h2load.measure(load, pace.seconds, pace.warm_up, cores()[1])
                return {self.name: rate * self.messages}

            yield turn

    def load(self, port: int) -> h2load.Load:
        return h2load.Load(
            url=f"http{'s' * self.tls}://127.0.0.1:{port}{SERVICE}/{self.method}",
            body=self.body,
            reply_bytes=self.messages * len(self.message),
            connections=self.connections,
            streams=self.streams,
            headers=self.headers,
        )


@dataclass(frozen=True, slots=True)
class Own:
    """The peer's own client against its own server, or that of one peer, so many a second."""

    figure: Figure
    load: tuple[str, ...]
    messages: int = 1
    """in one call of the load"""
    heavy: bool = False
    """a message costs as much as fifty small ones"""
    server: str = ""
    """the peer whose server all clients have; empty: each its own"""
    most_turns: int = MANY

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.figure,)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        with served(peer_named(self.server) or peer) as server:

            def turn(pace: Pace) -> dict[str, float]:
                result = call(server, pace, *self.load, client_of=peer)
                return {
                    self.name: result["n"] / result["seconds"],
                    "client_cpu": result.get("client_cpu", 0.0) / result["seconds"],
                }

            yield turn


@dataclass(frozen=True, slots=True)
class Latency:
    """One call at a time, beside a raw echo on the same kind of loop, in alternating blocks."""

    name: str
    median: Figure
    added: Figure
    server: str = ""
    """the peer whose server all clients have; empty: each its own"""
    most_turns: int = MANY

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.median, self.added)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        server_of = peer_named(self.server) or peer
        with served(server_of) as server, started(peer, *peer.echo) as echo:
            echo_port = echo.line()

            def turn(pace: Pace) -> dict[str, float]:
                result = call(server, pace, "latency", "--echo-port", echo_port, client_of=peer)
                return {
                    self.median.name: result["p50"],
                    self.added.name: result["p50"] - result["echo_p50"],
                    **{name: result[name] for name in ("p99", "echo_p50", "echo_p99")},
                }

            yield turn


@dataclass(frozen=True, slots=True)
class InFlight:
    """Whether a call costs the same with 10,000 of them at once."""

    name: str
    rate: Figure
    ratio: Figure
    most_turns: int = MANY

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.rate, self.ratio)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        with served(peer) as server:

            def turn(pace: Pace) -> dict[str, float]:
                # Twice the time: ten thousand must be started and ended within it.
                longer = Pace(2 * pace.seconds, pace.warm_up)
                few = call(server, longer, "unary", "--in-flight", "100")
                many = call(server, longer, "unary", "--in-flight", "10000")
                at_100 = few["n"] / few["seconds"]
                at_10_000 = many["n"] / many["seconds"]
                return {
                    self.rate.name: at_10_000,
                    self.ratio.name: at_10_000 / at_100,
                    "rate_at_100": at_100,
                }

            yield turn


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a fresh server before and after a neutral client opens many of a kind."""

    figure: Figure
    kind: Literal["connections", "streams"]
    count: int
    most_turns: int = 3

    @property
    def name(self) -> str:
        return self.figure.name

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.figure,)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        def turn(pace: Pace) -> dict[str, float]:
            with served(peer) as server:
                return {self.name: self.grown(server) / 1024}

        yield turn

    def grown(self, server: Served) -> float:
        """Bytes for each one opened."""
        command = (
            *(sys.executable, "-m", "benchmarks.idle", self.kind),
            *("--port", str(server.port)),
            *("--count", str(self.count)),
        )
        with Program(command, cores()[1]) as client:
            if (said := client.line()) != "warm":
                raise ProgramFailed(f"{client.name} said {said!r}, expected 'warm'")
            before = server.program.resident_bytes()
            client.tell("go on")
            opened = int(client.line(300))
            return (server.program.resident_bytes() - before) / opened


@dataclass(frozen=True, slots=True)
class Import:
    """Milliseconds of an import in a fresh interpreter that has asyncio and google.protobuf."""

    name: str
    alone: Figure
    used: Figure
    """with the names that every program uses"""
    most_turns: int = MANY

    @property
    def figures(self) -> tuple[Figure, ...]:
        return (self.alone, self.used)

    @contextlib.contextmanager
    def ready(self, peer: Peer) -> Iterator[Turn]:
        command = (
            sys.executable,
            "-c",
            IMPORT_PROGRAM.format(peer.imports, peer.uses),
        )

        def once() -> list[float]:
            output = run(command, cores()[1], 60, {"PYTHONDONTWRITEBYTECODE": ""})
            return [float(word) for word in output.split()]

        once()  # writes the .pyc files

        def turn(pace: Pace) -> dict[str, float]:
            alone, used = zip(*(once() for _ in range(IMPORTS)), strict=True)
            return {
                self.alone.name: statistics.median(alone),
                self.used.name: statistics.median(used),
            }

        yield turn
