"""Who takes part: the program of each peer, its versions, and why it sits out where it does."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
GO_PROGRAM = FOLDER.parent / "build" / "benchmarks" / "grpc-go-peer"

PYTHON = sys.executable
TLS = "unary-h2load-tls"
NOT_OF_INTERCEPTORS = (
    TLS,
    "unary-h2load-headers",
    "latency",
    "server-streaming-h2load",
    "server-streaming",
    "client-streaming",
    "ping-pong",
    "large-download",
    "large-upload",
    "in-flight",
    "import",
    "idle-connection",
    "idle-stream",
)
THREADS = "unary-h2load-threads"
BLOCKING = ("latency-blocking", "unary-8-threads")
AWAITED: dict[str, str] = dict.fromkeys(BLOCKING, "its calls are awaited")
ON_THE_LOOP = {THREADS: "its handlers are coroutines", **AWAITED}
SLOW_AT_10_000 = "a turn would take minutes: its calls are served too slowly at 10,000 in flight"


@dataclass(frozen=True, slots=True)
class Peer:
    """One contestant."""

    name: str
    label: str
    program: tuple[str, ...]
    """takes the verbs ``serve`` and ``call``"""
    echo: tuple[str, ...]
    """a raw echo server on the same kind of loop"""
    packages: tuple[str, ...]
    """distributions whose versions are reported"""
    imports: str = ""
    """what a program of this peer imports"""
    uses: str = "None"
    """the names that every program uses, where these are imported only then"""
    sits_out: dict[str, str] = field(default_factory=dict)
    """scenario to reason"""
    environment: dict[str, str] = field(default_factory=dict)
    exits: tuple[int, ...] = (0,)
    """statuses of its client that do not spoil what it has measured"""


def python_peer(
    name: str,
    label: str,
    module: str,
    loop: str,
    packages: tuple[str, ...],
    imports: str,
    uses: str = "None",
    *,
    sits_out: dict[str, str] | None = None,
    exits: tuple[int, ...] = (0,),
) -> Peer:
    echo_loop, options = (loop, ("--loop", loop)) if loop != "blocking" else (loop, ())
    return Peer(
        name=name,
        label=label,
        program=(PYTHON, "-m", f"benchmarks.peers.{module}", *options),
        echo=(PYTHON, "-m", "benchmarks.peers.echo", "--loop", echo_loop),
        packages=packages,
        imports=imports,
        uses=uses,
        sits_out=sits_out or {},
        exits=exits,
    )


PEERS: tuple[Peer, ...] = (
    python_peer(
        "gyrfalcon",
        "gyrfalcon",
        "gyrfalcon_loop",
        "uvloop",
        ("gyrfalcon", "uvloop"),
        "import gyrfalcon",
        "gyrfalcon.Channel, gyrfalcon.Server",
        sits_out=AWAITED,
    ),
    python_peer(
        "gyrfalcon-asyncio",
        "gyrfalcon (asyncio)",
        "gyrfalcon_loop",
        "asyncio",
        ("gyrfalcon",),
        "",
        sits_out={"import": "the loop makes no difference", **AWAITED},
    ),
    python_peer(
        "gyrfalcon-blocking",
        "gyrfalcon (blocking)",
        "gyrfalcon_blocking",
        "blocking",
        ("gyrfalcon",),
        "",
        sits_out=dict.fromkeys(
            ("unary-h2load", "unary-100", *NOT_OF_INTERCEPTORS),
            "its blocking face is measured where threads call or serve",
        ),
    ),
    python_peer(
        "gyrfalcon-intercepted",
        "gyrfalcon (two interceptors)",
        "gyrfalcon_intercepted",
        "uvloop",
        ("gyrfalcon", "uvloop"),
        "",
        sits_out=dict.fromkeys(
            (*NOT_OF_INTERCEPTORS, *BLOCKING), "interceptors are measured on unary calls"
        ),
    ),
    python_peer(
        "grpc-aio",
        "grpc.aio",
        "grpc_aio",
        "asyncio",
        ("grpcio",),
        "import grpc, grpc.aio",
        sits_out=ON_THE_LOOP,
    ),
    python_peer(
        "grpcio",
        "grpcio (blocking)",
        "grpcio_blocking",
        "blocking",
        ("grpcio",),
        "import grpc",
        sits_out={
            "in-flight": SLOW_AT_10_000,
            "idle-stream": "an open stream holds a thread of the pool",
            TLS: "with TLS it is grpc.aio that is measured",
        },
    ),
    python_peer(
        "grpclib",
        "grpclib",
        "grpclib_uvloop",
        "uvloop",
        ("grpclib", "h2", "uvloop"),
        "import grpclib.client, grpclib.server",
        sits_out={"in-flight": SLOW_AT_10_000, **ON_THE_LOOP},
    ),
    python_peer(
        "connectrpc",
        "connectrpc",
        "connect_pyvoy",
        "asyncio",
        ("connectrpc", "pyvoy", "pyqwest"),
        "import connectrpc.client, connectrpc.server",
        sits_out={
            "in-flight": SLOW_AT_10_000,
            TLS: "its server is pyvoy's, which ends TLS in Envoy",
            **ON_THE_LOOP,
        },
        # pyqwest 0.12 at times aborts when the interpreter ends, after the result was printed.
        exits=(0, -signal.SIGABRT),
    ),
    Peer(
        name="grpc-go",
        label="grpc-go",
        program=(str(GO_PROGRAM),),
        echo=(str(GO_PROGRAM), "echo"),
        packages=(),
        sits_out={
            "import": "not Python",
            **dict.fromkeys((THREADS, *BLOCKING), "its handlers and callers are goroutines"),
        },
        environment={"GOMAXPROCS": "1"},
    ),
)


def missing(peer: Peer) -> str:
    """Why the peer cannot take part on this machine; empty when it can. Builds the Go program."""
    if peer.name == "grpc-go":
        return build_go()
    modules = {"grpcio": "grpc"}
    for package in peer.packages:
        if importlib.util.find_spec(modules.get(package, package)) is None:
            return f"{package} is not installed (it is in the bench extra)"
    return ""


@cache
def build_go() -> str:
    """Build the Go peer; the reason when that is not possible, else nothing."""
    if shutil.which("go") is None:
        return "Go is not installed"
    GO_PROGRAM.parent.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        ["go", "build", "-o", str(GO_PROGRAM), "."],
        cwd=FOLDER / "peers" / "go",
        env={"GOFLAGS": "-buildvcs=false", **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    return f"go build: {built.stderr.strip()}" if built.returncode else ""


def versions(peer: Peer) -> dict[str, str]:
    """Versions of what the peer is made of."""
    if peer.name == "grpc-go":
        grpc, go = subprocess.check_output([str(GO_PROGRAM), "version"], text=True).split()
        return {"grpc-go": grpc, "go": go.removeprefix("go")}
    return {package: version(package) for package in peer.packages}


def version(package: str) -> str:
    """The installed version; of a source tree that is not installed, what it says of itself."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(__import__(package).__version__)
