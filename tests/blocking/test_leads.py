"""Who reads for the loop of a blocking channel: a thread that waits, or the janitor, never both."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import BlockingStub, serving_threads
from tests.call.service import SAFETY_NET_S, message

# Of a size that is read in pieces: the janitor is amidst them when the thread comes.
BODY = random.Random(1).randbytes(300_000)
CHANNELS = 300


async def give(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return message(BODY)


async def give_each(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for _ in requests:
        yield message(BODY)


def test_a_thread_that_takes_the_lead_from_the_janitor_reads_alone() -> None:
    with serving_threads(unary=give, bidi=give_each) as served:
        for _ in range(CHANNELS):
            # Nobody leads at first: the janitor keeps the loop for the future, and goes on.
            with gyr.blocking.Channel(served.target) as channel:
                stub = BlockingStub(channel)
                future = stub.unary.future(message(BODY))
                assert future.result(SAFETY_NET_S).value == BODY
                call = stub.bidi(timeout=SAFETY_NET_S)
                call.send(message(BODY))
                call.done_sending()
                assert [reply.value for reply in call] == [BODY]
