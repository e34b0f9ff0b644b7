"""A process that is as busy as an attacker, and attacks nobody: the neighbour's other company.

The neighbour and the attacker share a core, because the server has the other one. So under attack
the neighbour's calls also wait for what the attacker does in the kernel, and where the neighbour
may not come first for the attacker's turns, which is the machine's doing and not the server's.

This process does what the attacker does on the same core: it builds the bytes of the same attacks,
one after another, and sends them through a socket of the loopback. It takes them out of there
itself, without looking at them (MSG_TRUNC, tcp(7)): a second process that drained it would want a
core that nobody has, the server's, which would slow down the server that the baseline is of, or
this one, which would be busier than under attack.

An attacker that waits for the server leaves the core to the neighbour meanwhile. So this process
takes a share of the core, and an attack is judged by the control whose share is its own, rounded
down to a quarter: what the machine does is never taken for more than it is.

`python -m tests.abuse.control SHARE` is busy until its standard input ends.
"""

from __future__ import annotations

import itertools
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.abuse.families import CALM
from tests.endurance.programs import ROOT

PIECE = 65_536


def chunks() -> Iterator[bytes]:
    """Of every attack that goes on until it is stopped, again and again."""
    for family in itertools.cycle(CALM):
        yield from family.chunks()


def be_busy(share: float) -> None:
    drained = bytearray(PIECE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sender = socket.create_connection(listening.getsockname())
        receiver, _ = listening.accept()
    with sender, receiver:
        began, spent_before = time.monotonic(), time.process_time()
        for chunk in chunks():
            for at in range(0, len(chunk), PIECE):
                sent = sender.send(chunk[at : at + PIECE])
                while sent:
                    sent -= receiver.recv_into(drained, min(sent, PIECE), socket.MSG_TRUNC)
            ahead = (time.process_time() - spent_before) / share - (time.monotonic() - began)
            if select.select([sys.stdin], [], [], max(ahead, 0.0))[0]:
                return


@contextmanager
def busy(share: float) -> Iterator[None]:
    """Have the core that this process is on busy for so much of the time; 0: not at all."""
    if not share:
        yield
        return
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.abuse.control", str(share)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate()
    assert process.returncode == 0


if __name__ == "__main__":
    print("ready", flush=True)
    be_busy(float(sys.argv[1]))
