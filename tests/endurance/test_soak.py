"""A few seconds of a soak, which `make soak` runs for as long as one likes, and its judges."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.endurance.programs import ROOT
from tests.endurance.soak import network, verdict
from tests.endurance.soak.calls import Plan, Tally
from tests.endurance.soak.figures import Rest
from tests.endurance.soak.network import Bridge, Place, place
from tests.endurance.soak.processes import Process

ONE = Plan("unary", "answered", [b"x"], [b"y"], 1.0, "key")
HOUR = 3600
BEGAN = 1_000_000.0


def test_a_short_soak_passes(tmp_path: Path) -> None:
    report = tmp_path / "soak.json"
    command = [sys.executable, "-m", "tests.endurance.soak", "--minutes", "0.15"]
    done = subprocess.run(
        [*command, "--report", str(report)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seen = json.loads(report.read_text())
    assert (seen["complaints"], seen["verdict"]) == ([], "passed"), done.stdout + done.stderr
    assert done.returncode == 0
    assert seen["answered"] > 100
    assert sum(seen["faults"].values()) >= 1
    assert len(seen["processes"]) == 8


@pytest.mark.parametrize(
    ("code", "replies", "key", "wrong"),
    [
        ("OK", [b"y"], "key", 0),
        ("OK", [b"z"], "key", 1),
        ("OK", [b"y"], "another", 1),
        ("OK", [], "key", 1),
        ("UNAVAILABLE", [], None, 0),
        ("UNAVAILABLE", [b"z"], None, 1),
        ("INTERNAL", [], None, 1),
        ("NOT_FOUND", [], None, 1),
    ],
)
def test_answers_are_checked(code: str, replies: list[bytes], key: str | None, wrong: int) -> None:
    tally = Tally()
    tally.count(ONE, "server", code, replies, key)
    assert tally.wrong_count == wrong


def judged(memory: list[int], minutes: float, **end: Any) -> list[str]:
    process = Process("one", "servers", [], steady=True, ours=True)
    process.samples = process.weights = [
        {"at": BEGAN + second, "memory": size} for second, size in enumerate(memory)
    ]  # fmt: skip
    process.end = end
    process.status = 0
    faults: list[str] = verdict.judge_process(process, BEGAN, minutes)["faults"]
    return faults


def test_memory_that_grows_for_an_hour_is_found() -> None:
    flat = [2000] * 600 + [1000] * 3000
    assert judged(flat, 60, started=1) == []
    grown = [1000 + 20 * (second // 60) for second in range(HOUR)]
    assert judged(grown, 60, started=1) == [
        "memory at rest grew by 72.6%; less than 1.0% is allowed",
        "memory among calls grew by 72.6%; less than 50.0% is allowed",
    ]


@pytest.mark.parametrize(("last", "faults"), [
    (10_099, []), (10_100, ["memory at rest grew by 1.0%; less than 1.0% is allowed"]),
])  # fmt: skip
def test_after_ten_minutes_of_an_hour_growth_is_under_one_per_cent(
    last: int, faults: list[str]
) -> None:
    memory = [5_000] * 600 + [10_000] * 300 + [20_000] * (HOUR - 1200) + [last] * 300
    assert judged(memory, 60, started=1) == faults


def test_a_process_whose_memory_is_not_seen_does_not_pass() -> None:
    assert judged([1000] * 60, 60, started=1) == [
        "memory at rest was not seen both after the warm-up and at the end",
        "memory among calls was not seen both after the warm-up and at the end",
    ]


def test_a_process_that_ended_by_itself_before_it_was_killed_does_not_pass() -> None:
    process = Process("one", "servers", [], steady=False, ours=True)
    process.end, process.status, process.crashes = {"started": 1}, 0, [-11]
    assert verdict.judge_process(process, BEGAN, 60)["faults"] == [
        "ended by itself: status [-11]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "faults"), [(True, ["did not end as it should (status -1)"]), (False, [])]
)
def test_whether_grpcio_ends_is_not_judged(ours: bool, faults: list[str]) -> None:
    process = Process("one", "clients", [], steady=True, ours=ours)
    process.status, process.stuck = -1, 1
    seen = verdict.judge_process(process, BEGAN, 1)
    assert (seen["faults"], seen["stuck"]) == (faults, 1)


def test_a_process_rests_when_its_calls_have_ended() -> None:
    rest = Rest()
    assert rest.begin()
    resting = threading.Thread(target=rest.rest)
    resting.start()
    while rest.begin():
        rest.end()
    # A call runs still.
    assert resting.is_alive()
    rest.end()
    resting.join()
    assert not rest.begin()
    rest.resume()
    rest.wait()
    assert rest.begin()


def test_what_is_left_and_logged_is_found() -> None:
    faults = judged([1], 1, tasks_left=2, left=["socket"], complaints=["server: failed"])
    assert faults == [
        "tasks_left: 2", "left behind: ['socket']", "logged: ['server: failed']"
    ]  # fmt: skip


@pytest.mark.parametrize(("minutes", "allowed"), [(120, 0.01), (60, 0.01), (20, 0.03), (5, 0.1)])
def test_short_runs_are_allowed_more(minutes: float, allowed: float) -> None:
    assert verdict.allowed_growth(minutes) == pytest.approx(allowed)


# ---------------------------------------------------------------------- the bridge


@pytest.fixture
def bridged() -> Iterator[Place]:
    """A namespace behind the bridge, also where there is netem."""
    with place(try_netem=False) as where:
        if where.bridge is None:
            pytest.skip(f"no bridge on this machine: {where.notes}")
        yield where


# Sends back what came, when all has come.
RETURN = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as server:
    print(server.getsockname()[1], flush=True)
    for _ in range(int(sys.argv[2])):
        connection = server.accept()[0]
        with connection:
            came = b"".join(iter(lambda: connection.recv(65536), b""))
            connection.sendall(came)
"""


@contextmanager
def returning(where: Place, connections: int) -> Iterator[int]:
    """The port of a server behind the bridge."""
    command = [*where.prefix, sys.executable, "-c", RETURN, where.host, str(connections)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        except BaseException:
            server.kill()
            raise
    assert server.returncode == 0


def send_and_receive(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_the_bridge_carries_what_it_loses_at_first(bridged: Place) -> None:
    assert bridged.bridge is not None
    data = os.urandom(128 * 1024)
    with returning(bridged, 2) as port:
        address = bridged.host, port
        with socket.create_connection(address) as calm, socket.create_connection(address) as rough:
            assert send_and_receive(calm, data) == data
            before = bridged.bridge.set(loss=0.2)
            assert send_and_receive(rough, data) == data
            after = bridged.bridge.set()
    assert before["carried"] >= 2 * len(data) // 1500
    assert (before["lost"], before["delayed"], before["doubled"]) == (0, 0, 0)
    assert after["lost"] > 0
    assert (after["delayed"], after["doubled"]) == (0, 0)


def test_the_bridge_delays_doubles_and_reorders(bridged: Place) -> None:
    assert bridged.bridge is not None
    data = os.urandom(128 * 1024)
    with returning(bridged, 1) as port, socket.create_connection((bridged.host, port)) as rough:
        bridged.bridge.set(delay=0.002, jitter=0.001, double=0.3, reorder=0.3)
        assert send_and_receive(rough, data) == data
        after = bridged.bridge.set()
    assert after["lost"] == 0
    assert {name for name in ("delayed", "doubled", "overtook") if after[name] > 0} == {
        "delayed", "doubled", "overtook"
    }  # fmt: skip


def test_a_bridge_that_cannot_be_says_why(bridged: Place) -> None:
    with pytest.raises(RuntimeError, match=r"the bridge: OSError: .*No such device"):
        Bridge([], ("soak-none", "soak-none"))


def interfaces_and_namespaces(name: str) -> list[str]:
    folders = Path("/sys/class/net"), Path("/run/netns")
    return [path.name for folder in folders for path in folder.glob(f"{name}*")]


def test_a_place_leaves_nothing(bridged: Place) -> None:
    name = network.NAME.format(os.getpid())
    made = {f"{name}o", name, f"{name}m"}
    assert set(interfaces_and_namespaces(name)) == made
    bridged.close()
    assert interfaces_and_namespaces(name) == []


def test_what_a_killed_run_left_is_swept() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    name = network.NAME.format(ended.pid)
    refusal = network.attempt("ip", "netns", "add", name)
    if refusal is not None:
        pytest.skip(f"no network namespace on this machine: {refusal}")
    network.sweep()
    assert interfaces_and_namespaces(name) == []


def test_a_soak_that_is_interrupted_reports_what_it_saw(tmp_path: Path) -> None:
    report, picture = tmp_path / "soak.json", tmp_path / "soak.png"
    command = [sys.executable, "-m", "tests.endurance.soak", "--minutes", "60"]
    with subprocess.Popen(
        [*command, "--report", str(report), "--picture", str(picture)], cwd=ROOT,
        stdout=subprocess.PIPE, text=True, process_group=0,
    ) as soak:  # fmt: skip
        assert soak.stdout is not None
        assert any(line == "8 processes, 60 minutes\n" for line in soak.stdout)
        # As Ctrl-C does, to the processes that it started too.
        os.killpg(soak.pid, signal.SIGINT)
        out = soak.stdout.read()
    seen = json.loads(report.read_text())
    assert (seen["complaints"], seen["verdict"], seen["interrupted"]) == ([], "passed", True), out
    assert picture.stat().st_size > 0
    assert "passed: memory is not judged" in out
    assert soak.returncode == 128 + signal.SIGINT
    assert interfaces_and_namespaces(network.NAME.format(soak.pid)) == []
