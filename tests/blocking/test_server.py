"""gyr.blocking.Server: a server for programs that have threads and no event loop."""

from __future__ import annotations

import asyncio
import gc
import inspect
import signal
import socket
import subprocess
import sys
import threading
import typing
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.blocking import Server, ServerOptions
from tests.blocking.programs import SAFETY_NET_S, client
from tests.call.service import Calls, Stub, collect, message


async def echo(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


def echo_in_thread(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(threading.current_thread().name.encode())


def server_threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("gyrfalcon")]


def test_its_options_are_those_of_the_asyncio_server() -> None:
    parameters = dict(inspect.signature(gyr.Server, eval_str=True).parameters)
    del parameters["services"]
    expected = {name: parameter.annotation for name, parameter in parameters.items()}
    assert typing.get_type_hints(ServerOptions) == expected


def test_def_and_async_def_handlers_of_all_patterns() -> None:
    def count(request: BytesValue, ctx: gyr.ServerContext) -> Iterator[BytesValue]:
        return (message(b"%d" % number) for number in range(int(request.value)))

    def join(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        return message(b",".join(request.value for request in requests))

    async def again(
        requests: gyr.RequestStream[BytesValue], ctx: gyr.ServerContext
    ) -> typing.AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    async def call_all(stub: Stub) -> list[object]:
        return [
            (await stub.unary(message(b"a"))).value,
            await collect(stub.server_stream(message(b"3"))),
            (await stub.client_stream([message(b"x"), message(b"y")])).value,
            await collect(stub.bidi([message(b"1"), message(b"2")])),
        ]

    service = Calls(unary=echo, server_stream=count, client_stream=join, bidi=again)
    with Server([service]) as server, client(server.listen("127.0.0.1:0")) as one:
        assert one.run(call_all) == [b"a", [b"0", b"1", b"2"], b"x,y", [b"1", b"2"]]


def test_def_handlers_run_in_worker_threads_and_no_thread_is_left() -> None:
    with (
        Server([Calls(unary=echo_in_thread)]) as server,
        client(server.listen("127.0.0.1:0")) as one,
    ):
        assert one.unary() == b"gyrfalcon_0"
        assert sorted(server_threads()) == ["gyrfalcon-server", "gyrfalcon_0"]
    assert server_threads() == []


def test_options_reach_the_server() -> None:
    with (
        Server([Calls(unary=echo)], max_receive_bytes=10) as server,
        client(server.listen("127.0.0.1:0")) as one,
        pytest.raises(gyr.ResourceExhausted),
    ):
        one.unary(b"x" * 100)
    with pytest.raises(ValueError, match="max_workers=0 is out of range"):
        Server([Calls()], max_workers=0)
    with pytest.raises(TypeError, match="pass an instance, not the class"):
        Server([Calls])  # type: ignore[list-item]


# ------------------------------------------------------------------ listening


def test_before_the_start_an_address_is_taken_and_calls_wait() -> None:
    with Server([Calls(unary=echo)]) as other:
        server = Server([Calls(unary=echo)])
        port = server.listen("127.0.0.1:0")
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            other.listen(f"127.0.0.1:{port}")
    with client(port) as one:
        call = one.start_unary(b"early", wait_for_ready=True)
        with socket.create_connection(("127.0.0.1", port)) as raw:
            # Whatever the server says first would be here, if it served.
            raw.setblocking(False)
            with pytest.raises(BlockingIOError):
                raw.recv(1)
        assert not call.done()
        server.start()
        assert call.result(SAFETY_NET_S) == b"early"
        more = server.listen("127.0.0.1:0")
        with client(more) as another:
            assert another.unary(b"late") == b"late"
    server.stop()


@pytest.mark.parametrize("started", [False, True])
def test_a_unix_socket(tmp_path: Path, started: bool) -> None:
    address = f"unix:{tmp_path}/s"
    server = Server([Calls(unary=echo)])
    if started:
        server.start()
    assert server.listen(address) == 0
    server.start()
    with client(address) as one:
        assert one.unary(b"a") == b"a"
    server.stop()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("address", "error"), [("nonsense", ValueError), ("256.0.0.1:0", OSError)])
def test_an_address_that_cannot_be_had_is_named_and_another_may_be_tried(
    address: str, error: type[Exception]
) -> None:
    server = Server([Calls(unary=echo)])
    with pytest.raises(error, match=address):
        server.listen(address)
    with server, client(server.listen("127.0.0.1:0")) as one:
        assert one.unary(b"a") == b"a"


# ------------------------------------------------------------------ the end


def test_stopping_lets_running_calls_end() -> None:
    running, go = threading.Event(), threading.Event()

    def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        running.set()
        assert go.wait(SAFETY_NET_S)
        return request

    server = Server([Calls(unary=wait)])
    with client(server.listen("127.0.0.1:0")) as one:
        server.start()
        call = one.start_unary(b"a")
        assert running.wait(SAFETY_NET_S)
        stoppers = [threading.Thread(target=server.stop) for _ in range(3)]
        for thread in stoppers:
            thread.start()
        assert server.wait(timeout=0) is False
        go.set()
        assert call.result(SAFETY_NET_S) == b"a"
        for thread in stoppers:
            thread.join(SAFETY_NET_S)
        assert server.wait(timeout=0) is True
        server.stop()
        with pytest.raises(gyr.Unavailable):
            one.unary()


def test_when_the_grace_is_over_calls_are_cancelled() -> None:
    running = threading.Event()

    async def wait(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        running.set()
        await asyncio.get_running_loop().create_future()
        return request

    server = Server([Calls(unary=wait)])
    with client(server.listen("127.0.0.1:0")) as one:
        server.start()
        call = one.start_unary()
        assert running.wait(SAFETY_NET_S)
        patient = threading.Thread(target=server.stop)
        patient.start()
        server.stop(grace=0)
        with pytest.raises(gyr.Cancelled, match="the server shuts down"):
            call.result(SAFETY_NET_S)
        patient.join(SAFETY_NET_S)
        assert not patient.is_alive()


def test_stopping_on_the_loop_itself_is_refused_with_the_remedy() -> None:
    async def stop(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        with pytest.raises(RuntimeError, match=r"use threading.Thread\(target=server.stop\)"):
            server.stop()
        with pytest.raises(RuntimeError, match=r"wait.. waits for the loop's thread"):
            server.wait()
        threading.Thread(target=server.stop).start()
        return request

    with Server([Calls(unary=stop)]) as server:
        with client(server.listen("127.0.0.1:0")) as one:
            assert one.unary(b"a") == b"a"
        assert server.wait(SAFETY_NET_S) is True


def test_a_thread_of_the_loops_own_executor_may_stop_it() -> None:
    stopping: list[asyncio.Future[None]] = []

    async def stop(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        stopping.append(asyncio.get_running_loop().run_in_executor(None, server.stop))
        return request

    with Server([Calls(unary=stop)]) as server, client(server.listen("127.0.0.1:0")) as one:
        assert one.unary(b"a") == b"a"
        assert server.wait(SAFETY_NET_S) is True


def test_a_server_that_was_stopped_says_so() -> None:
    for started in (False, True):
        server = Server([Calls()])
        if started:
            server.start()
        server.stop()
        assert server.wait() is True
        with pytest.raises(RuntimeError, match="this server was stopped; make a new one"):
            server.listen("127.0.0.1:0")
        with pytest.raises(RuntimeError, match="this server was stopped; make a new one"):
            server.start()
        with pytest.raises(RuntimeError, match="this server was stopped; make a new one"):
            server.__enter__()
    with pytest.raises(ValueError, match=r"grace=-1 is out of range"):
        server.stop(grace=-1)


def test_waiting_for_a_server_that_was_not_started_is_refused() -> None:
    with pytest.raises(RuntimeError, match="was not started"):
        Server([Calls()]).wait()


def test_a_block_may_stand_around_a_server_that_runs() -> None:
    server = Server([Calls(unary=echo)])
    port = server.listen("127.0.0.1:0")
    server.start()
    with server, client(port) as one:
        assert one.unary(b"a") == b"a"


def test_a_forgotten_server_warns_and_ends() -> None:
    def forget() -> None:
        server = Server([Calls(unary=echo)])
        server.listen("127.0.0.1:0")
        server.start()
        del server
        gc.collect()

    with pytest.warns(ResourceWarning, match=r"blocking.Server .* was not stopped"):
        forget()


def test_a_server_that_only_has_an_address_ends_silently() -> None:
    def forget() -> None:
        Server([Calls(unary=echo)]).listen("127.0.0.1:0")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forget()
        gc.collect()


def test_a_program_may_end_while_its_server_runs() -> None:
    program = (
        "import gyrfalcon as gyr\n"
        "server = gyr.blocking.Server([])\n"
        "server.listen('127.0.0.1:0')\n"
        "server.start()\n"
        "print('over')\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=SAFETY_NET_S,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("over\n", "", 0)


def test_ctrl_c_ends_a_program_that_waits() -> None:
    program = (
        "import gyrfalcon as gyr\n"
        "with gyr.blocking.Server([]) as server:\n"
        "    try:\n"
        "        print(server.listen('127.0.0.1:0') > 0, flush=True)\n"
        "        server.wait()\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
        "print('stopped')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=SAFETY_NET_S)
    assert (output, process.returncode) == ("interrupted\nstopped\n", 0)
