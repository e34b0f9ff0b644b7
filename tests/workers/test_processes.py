"""Real workers: of `Server.run` and of `gyr serve`, through their whole life."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon.testing import MemoryNetwork
from tests.call.service import UNARY, Calls, message
from tests.workers.programs import (
    APP,
    OPTIONS,
    Program,
    alive,
    answer,
    ask,
    gyr_serve,
    program,
    server_run,
    write_app,
)

FORMS = ("run", "gyr")


def command(form: str, folder: Path, address: str, workers: int) -> list[str]:
    if form == "run":
        return server_run(folder, address, workers)
    write_app(folder)
    return gyr_serve(folder, address, "--workers", str(workers))


def target_of(served: Program) -> str:
    return served.read_until(r"workers? on (\S+)")[0][1]


@pytest.mark.parametrize("form", FORMS)
def test_all_workers_serve_and_a_signal_ends_them(form: str, tmp_path: Path) -> None:
    with program(command(form, tmp_path, "127.0.0.1:0", 2)) as served:
        pids = dict(zip(served.serving(2), (1, 2), strict=True))
        target = target_of(served)
        seen: dict[int, int] = {}
        while len(seen) < 2:  # which one answers is chance
            pid, number, mark = ask(target)
            assert mark == "first"
            seen[pid] = number
        assert (seen.keys(), sorted(seen.values())) == (pids.keys(), [1, 2])
        assert served.stop() == 0
        written = "".join(served.lines)
        assert written.count("ended with status 0") == 2
        assert written.count("starting") == 2
        assert written.count("returned") == (form == "run")
        assert [alive(pid) for pid in pids] == [False, False]


@pytest.mark.parametrize("form", FORMS)
def test_one_that_was_killed_is_replaced_and_its_socket_lives_on(form: str, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    with program(command(form, tmp_path, target, 1)) as served:
        (first,) = served.serving(1)
        assert ask(target)[0] == first
        os.kill(first, signal.SIGKILL)
        assert "was killed by SIGKILL" in served.read_until(f"pid {first}")[0].string
        (second,) = served.serving(1)
        assert ask(target)[0] == second
        assert served.stop() == 0
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("form", FORMS)
def test_a_reload_replaces_them_while_a_channel_goes_on(form: str, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    with (
        program(command(form, tmp_path, target, 1)) as served,
        gyr.blocking.Channel(target) as channel,
    ):
        call = gyr.blocking.UnaryUnary(channel, UNARY)
        (first,) = served.serving(1)
        assert answer(call(message(), **OPTIONS).value)[0] == first
        write_app(tmp_path, APP.replace('"first"', '"second"'))
        served.signal(signal.SIGHUP)
        (second,) = served.serving(1)
        while (seen := ask(target))[0] == first:
            pass  # both accept, until the old one has heard that it is replaced
        assert seen == (second, 1, "second" if form == "gyr" else "first")
        # Without a call for a second the channel's connection is drained too.
        served.read_until(rf"pid {first}\) ended with status 0")
        assert answer(call(message()).value)[0] == second
        assert served.stop() == 0


@pytest.mark.parametrize("form", FORMS)
def test_ctrl_c_in_a_terminal_lets_calls_end(form: str, tmp_path: Path) -> None:
    """It comes to all processes, and the supervisor tells the workers once more."""
    target = f"unix:{tmp_path}/s"
    with (
        program(command(form, tmp_path, target, 2), start_new_session=True) as served,
        gyr.blocking.Channel(target) as channel,
    ):
        served.serving(2)
        call = gyr.blocking.UnaryUnary(channel, UNARY).future(message(b"wait"), **OPTIONS)
        call.initial_metadata()
        os.killpg(served.process.pid, signal.SIGINT)
        assert answer(call.result().value)[2] == "first"
        assert served.end() == 0


def test_workers_drain_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    with (
        program(command("gyr", tmp_path, target, 2)) as served,
        gyr.blocking.Channel(target) as channel,
    ):
        pids = served.serving(2)
        call = gyr.blocking.UnaryUnary(channel, UNARY).future(message(b"wait"), **OPTIONS)
        call.initial_metadata()
        served.signal(signal.SIGKILL)
        assert answer(call.result().value)[2] == "first"
        # Their end of the pipe closes with the last of them.
        served.end()
        assert "".join(served.lines).count("the supervisor is gone") == 2
        assert len(pids) == 2


@pytest.mark.parametrize("form", FORMS)
def test_signals_are_passed_on(form: str, tmp_path: Path) -> None:
    with program(command(form, tmp_path, f"unix:{tmp_path}/s", 2)) as served:
        pids = set(served.serving(2))
        served.signal(signal.SIGUSR2)  # nobody listens to it, and nobody is hurt
        served.signal(signal.SIGUSR1)
        assert {int(one[1]) for one in served.read_until(r"heard (\d+)", 2)} == pids
        assert served.stop() == 0


def test_what_cannot_be_served_ends_the_whole_and_says_why(tmp_path: Path) -> None:
    write_app(tmp_path, "make = 1")
    with program(gyr_serve(tmp_path, f"unix:{tmp_path}/s", "-w", "2")) as served:
        assert served.end() == 2
        assert "Error: who_app:make gives 1, and it should be" in "".join(served.lines)


def test_a_program_that_dies_at_its_start_ends_the_whole(tmp_path: Path) -> None:
    write_app(tmp_path, "raise LookupError('no database')")
    with program(gyr_serve(tmp_path, f"unix:{tmp_path}/s", "-w", "1")) as served:
        assert served.end() == 1
    written = "".join(served.lines)
    assert written.count("LookupError: no database") == 3
    assert served.lines[-2].startswith("Error: worker 1 (pid ")
    assert "ended with status 1 at its start, 3 times in a row" in served.lines[-2]


def test_an_address_that_cannot_be_had(tmp_path: Path) -> None:
    write_app(tmp_path)
    with program(gyr_serve(tmp_path, "unix:/no/such/s", "-w", "2")) as served:
        assert served.end() == 1
    assert served.lines[-2:] == [
        "Error: cannot listen on unix:/no/such/s: No such file or directory\n",
        "Hint: choose another address with --bind\n",
    ]


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_a_socket_that_the_process_was_started_with(
    workers: tuple[str, ...], tmp_path: Path
) -> None:
    write_app(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as given:
        options = {"pass_fds": [given.fileno()]}
        address = f"fd:{given.fileno()}"
        with program(gyr_serve(tmp_path, address, *workers), **options) as served:
            target = served.read_until(r"listening on (127\.0\.0\.1:\d+)")[0][1]
            assert target == f"127.0.0.1:{given.getsockname()[1]}"
            if workers:
                assert ask(target)[2] == "first"
            assert served.stop() == 0


def test_development_serves_what_is_in_the_files(tmp_path: Path) -> None:
    path = write_app(tmp_path)
    target = f"unix:{tmp_path}/s"
    with program(gyr_serve(tmp_path, target, "--reload")) as served:
        served.serving(1)
        assert ask(target)[2] == "first"
        path.write_text("syntax error", encoding="utf-8")
        served.read_until("at its start: the reload is given up")
        assert ask(target)[2] == "first"
        path.write_text(APP.replace('"first"', '"second"'), encoding="utf-8")
        served.read_until("reloaded in")
        while ask(target)[2] == "first":
            pass  # both accept, until the old one has heard that it is replaced
        assert ask(target)[2] == "second"
        assert served.stop() == 0


@pytest.mark.parametrize(
    ("workers", "error"), [(0, ValueError), (1025, ValueError), ("2", TypeError)]
)
def test_a_number_of_workers_that_is_none(workers: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="workers"):
        gyr.Server([Calls()]).run("127.0.0.1:0", workers=workers)


def test_workers_need_the_system_s_sockets() -> None:
    with pytest.raises(ValueError, match="workers share the system's sockets"):
        gyr.Server([Calls()], network=MemoryNetwork()).run("127.0.0.1:0", workers=2)


def test_workers_are_supervised_from_the_main_thread() -> None:
    failed: list[str] = []

    def run() -> None:
        try:
            gyr.Server([Calls()]).run("127.0.0.1:0", workers=2)
        except RuntimeError as error:
            failed.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert failed == ["workers are supervised from the main thread, which gets signals"]


def test_a_process_that_is_no_worker_has_no_number() -> None:
    assert gyr.workers.worker_number() is None


@pytest.mark.skipif(sys.platform != "linux", reason="Linux shows processes' names so")
def test_a_worker_is_known_by_its_name(tmp_path: Path) -> None:
    with program(command("run", tmp_path, f"unix:{tmp_path}/s", 1)) as served:
        (pid,) = served.serving(1)
        assert Path(f"/proc/{pid}/comm").read_text(encoding="ascii") == "gyr worker 1\n"
        assert served.stop() == 0


@pytest.mark.parametrize("form", FORMS)
def test_what_a_worker_has_imported_is_not_collected(form: str, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/s"
    with program(command(form, tmp_path, target, 1)) as served:
        served.serving(1)
        _, _, frozen = ask(target, b"frozen?")
        assert int(frozen) > len(sys.modules)
        assert served.stop() == 0
