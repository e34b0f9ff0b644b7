"""A client of a bad server: its call ends with the right status, and the next one is served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.abuse.evil import ANSWERS, Answer, answering
from tests.blocking.service import BlockingStub
from tests.call.service import SAFETY_NET_S, Stub

REQUEST = BytesValue(value=b"hello")
Outcome = tuple[gyr.StatusCode, bytes, dict[str, int]]


async def call_twice(target: str) -> Outcome:
    """How the first call ends, what the second gets, and the limits that were met."""
    async with gyr.Channel(target) as channel:
        unary = Stub(channel).unary
        with pytest.raises(gyr.RpcError) as caught:
            await unary(REQUEST, timeout=SAFETY_NET_S)
        try:
            reply = await unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        except gyr.Unavailable:
            # The first ended before its connection did, and this one was on it.
            reply = await unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        return caught.value.code, reply.value, dict(channel.stats().limits)


def call_twice_blocking(target: str) -> Outcome:
    with gyr.blocking.Channel(target) as channel:
        unary = BlockingStub(channel).unary
        with pytest.raises(gyr.RpcError) as caught:
            unary(REQUEST, timeout=SAFETY_NET_S)
        try:
            reply = unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        except gyr.Unavailable:
            reply = unary(REQUEST, timeout=SAFETY_NET_S, wait_for_ready=True)
        return caught.value.code, reply.value, dict(channel.stats().limits)


FACES: dict[str, Callable[[str], Outcome]] = {
    "asyncio": lambda target: asyncio.run(call_twice(target)),
    "blocking": call_twice_blocking,
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.name)
def test_the_call_ends_and_the_next_is_served(answer: Answer, face: str) -> None:
    with answering(answer) as server:
        code, reply, limits = FACES[face](f"127.0.0.1:{server.port}")
    assert (code, reply) == (answer.code, b"hello")
    assert server.connections == (1 if answer.lives else 2)
    if answer.limits:
        (name,) = answer.limits
        assert limits.get(name) == 1
        assert (11, name.encode()) in server.goaways
