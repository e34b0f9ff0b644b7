"""Thousands of connections and streams, in every ending, leave no memory behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import Stream

from .wires import OK, REQUEST, RESPONSE, Event, join, messages, only, pump

BODY = bytes(30_000)
STREAMS = 10
WARM_UP = 30
# 3000 streams an ending: one kilobyte each that stayed would be 3 MB.
ROUNDS = 300
ALLOWED = 2 * 1024 * 1024
# A stream and its head are two blocks; the core keeps up to 256 streams that ended for reuse.
ALLOWED_BLOCKS = 1000

Ending = Callable[[Connection, Connection, Stream, Stream], None]


def resident_bytes() -> int:
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    size = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, check=True, text=True
    )
    return int(size.stdout) * 1024


def finish(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    stream.finish()
    pump(client, server)
    messages(answer)
    answer.send_head(RESPONSE, Fields([(b"key", b"value" * 100)]))
    answer.send_message(BODY)
    answer.finish(OK)
    pump(client, server)
    messages(stream)


def leave_unread(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    stream.finish()
    answer.send_head(RESPONSE)
    answer.send_message(BODY)
    answer.finish(OK)


def cancel(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    stream.send_message(BODY)
    stream.cancel()


def cancel_in_a_frame(
    client: Connection, server: Connection, stream: Stream, answer: Stream
) -> None:
    stream.send_message(BODY * 3)
    server.receive(client.take_output(1))
    stream.cancel()


def reset_with_output_waiting(
    client: Connection, server: Connection, stream: Stream, answer: Stream
) -> None:
    answer.send_head(RESPONSE)
    for _ in range(5):
        answer.send_message(BODY)
    answer.cancel()


def end_early(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    answer.send_head(RESPONSE, OK, end=True)


def fault(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    stream.send_message(bytes(200_000))
    pump(client, server)
    assert answer.fault is not None


def discard(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    answer.discard()
    stream.send_message(BODY)


def expire(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    client.set_deadline(stream, float(stream.id))
    client.on_timeout(5.0)


def stay_open(client: Connection, server: Connection, stream: Stream, answer: Stream) -> None:
    stream.send_message(BODY)


ENDINGS: dict[str, Ending] = {
    ending.__name__.replace("_", " "): ending
    for ending in (
        finish, leave_unread, cancel, cancel_in_a_frame, reset_with_output_waiting, end_early,
        fault, discard, expire, stay_open,
    )
}  # fmt: skip


def live(ending: Ending, last: str) -> None:
    """One pair of connections with ten streams that end so; `last` is how the connections end."""
    client, server = join(max_receive_bytes=100_000)
    for _ in range(STREAMS):
        stream = client.open(REQUEST, Fields([(b"trace", b"t" * 200)], index=False))
        stream.send_message(BODY)
        pump(client, server)
        answer = only([one for one in server.take_ready() if one.take_events() & Event.HEAD])
        ending(client, server, stream, answer)
        pump(client, server)
        client.take_ready()
        server.take_ready()
    if last == "closed":
        client.close()
        server.close()
    elif last == "bad bytes":
        client.open(REQUEST)
        server.receive(b"\xff" * 100)
        client.receive(server.take_output())


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_leaves_memory_behind(ending: str) -> None:
    lasts = ["closed", "forgotten", "bad bytes"]
    for turn in range(WARM_UP):
        live(ENDINGS[ending], lasts[turn % 3])
    gc.collect()
    before, blocks = resident_bytes(), sys.getallocatedblocks()
    for turn in range(ROUNDS):
        live(ENDINGS[ending], lasts[turn % 3])
    gc.collect()
    assert sys.getallocatedblocks() - blocks < ALLOWED_BLOCKS
    assert resident_bytes() - before < ALLOWED


def test_thousands_of_streams_on_one_connection_leave_no_memory_behind() -> None:
    client, server = join()
    before = 0
    for turn in range(6000):
        if turn == 1000:
            before = resident_bytes()
        stream = client.open(REQUEST)
        stream.send_message(b"x" * 100)
        stream.finish()
        pump(client, server)
        answer = only(server.take_ready())
        answer.send_head(RESPONSE)
        answer.send_message(b"y" * 100)
        answer.finish(OK)
        pump(client, server)
        client.take_ready()
        server.take_ready()
    assert (client.open_streams, server.open_streams) == (0, 0)
    # 5000 streams; one that stayed would keep 500 bytes and more on each side.
    assert resident_bytes() - before < 2 * 1024 * 1024


def test_thousands_of_connections_leave_no_memory_behind() -> None:
    before = 0
    for turn in range(3000):
        if turn == 500:
            before = resident_bytes()
        client, server = join()
        client.open(REQUEST)
        pump(client, server)
        if turn % 2:
            client.close()
    assert resident_bytes() - before < 2 * 1024 * 1024
