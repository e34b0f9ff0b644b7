"""`gyr call` and `gyr bench` against a grpc-go server, all four patterns, by its .proto file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.processes import Program, cores
from benchmarks.roster import GO_PROGRAM, build_go
from tests.cli.running import Ran, run

PROTO = Path(__file__).parents[2] / "benchmarks" / "protos" / "bench.proto"
SERVICE = "gyrfalcon.bench.Bench"


@pytest.fixture(scope="module")
def go_target() -> Iterator[str]:
    if reason := build_go():
        pytest.skip(reason)
    with Program([str(GO_PROGRAM), "serve"], cores()[1]) as server:
        yield f"127.0.0.1:{server.line()}"


CHUNK = '{"number": "7", "data": "YWI="}'
CALLS = {
    "Buy": (
        ['{"id": "106", "item": "Echo", "quantity": 3, "price": 29.5}'],
        '{"orderId": "106", "total": 88.5, "text": "3 x Echo"}\n',
    ),
    "Download": (['{"count": 2, "size": 3}'], '{"number": "1", "data": "AAAA"}\n' * 2),
    "Upload": ([CHUNK, CHUNK, CHUNK], '{"count": "3", "size": "6"}\n'),
    "Chat": ([CHUNK, CHUNK], (CHUNK + "\n") * 2),
}


def options(method: str) -> list[str]:
    data = [word for one in CALLS[method][0] for word in ("-d", one)]
    return [f"{SERVICE}/{method}", *data, "--proto", str(PROTO)]


# One test, so that one process builds the server.
def test_call_and_bench(go_target: str) -> None:
    for method, (_, expected) in CALLS.items():
        assert (method, run("call", go_target, *options(method))) == (method, Ran(0, expected, ""))
        amount = ["-n", "20", "-c", "4", "--warmup", "0", "--json", "-"]
        ran = run("bench", go_target, *options(method), *amount)
        found = json.loads(ran.stdout)["statuses"]
        assert (method, ran.status, found, ran.stderr) == (method, 0, {"OK": 20}, "")
    ran = run("call", go_target, f"{SERVICE}/Sell", "--proto", str(PROTO))
    assert (ran.status, ran.stdout) == (2, "")
    assert run("list", go_target).status == 64 + 12  # it has no reflection
