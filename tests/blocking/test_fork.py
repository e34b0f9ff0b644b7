"""Processes that fork while they have blocking channels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Each child proves itself by its exit status; the parent goes on with its own connection.
PROGRAM = """
import os, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads, from 3.12 on
import gyrfalcon as gyr
from tests.blocking.service import HANDLERS, BlockingStub
from tests.call.service import Calls, message

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return pid

def ended_well(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def answers():
    assert stub.unary(message(b"x"), timeout=20) == message(b"x")
    assert [reply.value for reply in stub.server_stream(message(b"2"), timeout=20)] == [b"2", b"1"]
    assert stub.unary.future(message(b"f"), timeout=20).result(20) == message(b"f")

peers = set()
async def unary(request, ctx):
    peers.add(ctx.peer)
    return request

server = gyr.blocking.Server([Calls(**{**HANDLERS, "unary": unary})])
port = server.listen("127.0.0.1:0")
server.start()
channel = gyr.blocking.Channel(f"127.0.0.1:{port}")
stub = BlockingStub(channel)
"""

CASES = {
    "before use": """
pid = child(answers)
answers()
assert ended_well(pid)
""",
    "after use": """
answers()
pids = [child(answers) for _ in range(3)]
answers()
assert [ended_well(pid) for pid in pids] == [True] * 3
answers()
assert len(peers) == 4, peers
""",
    "while calls run": """
running = stub.bidi()
running.send(message(b"before"))
assert running.receive() == message(b"before")
waiting = threading.Thread(target=lambda: got.append(running.receive()))
got = []
waiting.start()

def work():
    answers()
    try:
        running.receive()
    except RuntimeError as error:
        assert "another process" in str(error), error
    else:
        raise AssertionError("the parent's call went on in the child")

pid = child(work)
assert ended_well(pid)
running.send(message(b"after"))
waiting.join()
assert got == [message(b"after")]
""",
    "in the child again": """
answers()

def work():
    answers()
    assert ended_well(child(answers))
    answers()

assert ended_well(child(work))
answers()
""",
    "and closes it there": """
answers()

def work():
    with channel:
        answers()
    assert threading.active_count() == 1, threading.enumerate()

assert ended_well(child(work))
answers()
""",
}


def run(case: str) -> None:
    program = PROGRAM + CASES[case] + "\nchannel.close()\nserver.stop()\nprint('done')\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_before_use() -> None:
    run("before use")


def test_after_use_child_and_parent_have_connections_of_their_own() -> None:
    run("after use")


def test_calls_of_the_parent_go_on_there_only() -> None:
    run("while calls run")


def test_a_child_may_fork() -> None:
    run("in the child again")


def test_a_child_may_close_the_channel() -> None:
    run("and closes it there")
