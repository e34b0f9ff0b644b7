"""A gibibyte for a consumer that is slower than its producer: both processes stay small."""

from __future__ import annotations

import pytest

from tests.endurance.memory import KIB, MIB
from tests.endurance.programs import report_of, serving

TOTAL = 1024 * MIB
# Of messages of a megabyte threads that hand them over hold 23 MiB, and once in ten runs 35: malloc
# has an arena for each thread.
MOST_GROWTH = 48 * MIB

# What may be under way in one direction: the stream's window and what waits for it to open.
WINDOW = MIB
# A window grows while the consumer keeps up with what is sent, which at first it may seem to.
GROWTH = 4
HIGH_MARK = 64 * KIB
LOW_MARK = 16 * KIB
# Credit for what was taken goes back in pieces of this many bytes (Connection's `portion`).
PORTION = 64 * KIB
# A message that is not whole yet is credited as it comes: it does not count against the window.
PARTIAL = 64 * KIB
# Messages that are not bytes in a buffer: with the producer, in its queue, and with the consumer.
IN_HAND = 4


def most_ahead(scenario: str, size: int, *, threads: bool) -> int:
    """Bytes that a producer can be ahead of its consumer, at the outside."""
    one_way = GROWTH * WINDOW + HIGH_MARK + PARTIAL + IN_HAND * size
    if threads:
        # A thread and the loop hand over messages in batches: one is filled, one is emptied. The
        # requests that wait for a `def` handler are taken at once, and make room for as many.
        one_way += max(2 * (HIGH_MARK + size), WINDOW)
    return 2 * one_way if scenario == "chat" else one_way


# Bytes that a stuck producer is ahead by, at the least. Its peer has received a window of bytes it
# gave no credit for. Of these may be consumed: under half a window, for libnghttp2 sends a
# WINDOW_UPDATE from there on, and under a portion, which the stream keeps to itself so long. The
# rest nobody has taken. And the producer has more than LOW_MARK waiting, or it would go on.
LEAST_AHEAD = WINDOW - WINDOW // 2 - PORTION + LOW_MARK


@pytest.mark.parametrize(
    ("size", "limit", "loop"),
    [
        pytest.param(64 * KIB, 4 * MIB, "asyncio", id="64KiB-asyncio"),
        pytest.param(MIB, 8 * MIB, "uvloop", id="1MiB-uvloop"),
    ],
)
@pytest.mark.parametrize("threads", [False, True], ids=["async", "def"])
@pytest.mark.parametrize("scenario", ["download", "upload", "chat"])
def test_a_slow_consumer_holds_its_producer_back(
    scenario: str, threads: bool, size: int, limit: int, loop: str
) -> None:
    handlers = ["--threads"] if threads else []
    options = ("--limit", limit, *handlers)
    with serving("streaming", "serve", loop, *options) as port:
        seen = report_of(
            "streaming", "call", loop, "--limit", limit, "--port", port,
            "--scenario", scenario, "--size", size, "--total", TOTAL,
        )  # fmt: skip
    assert seen["taken"] * size == TOTAL
    # The producer does run ahead, as far as there is room, and gets stuck there.
    assert seen["stuck_at"] >= LEAST_AHEAD
    assert seen["most_ahead"] <= most_ahead(scenario, size, threads=threads)
    assert seen["client_growth"] < MOST_GROWTH
    assert seen["server_growth"] < MOST_GROWTH
