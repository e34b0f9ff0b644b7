"""What compressed messages cost: the loop turns between them, a bomb is held once, and a call whose
reply is one has no status of OK."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.rpc.compression import COMPRESSIONS, GZIP, MessageTooLargeError
from tests.abuse.attacker import attacking
from tests.abuse.evil import ANSWERS, Answer, answering
from tests.abuse.families import BOMB_BYTES, BOMB_NAMES, MIB, data, request_head
from tests.call.inflating import ALLOWANCE, InParts, Whole, add
from tests.call.service import SAFETY_NET_S, Calls, Stub
from tests.core.wires import END_STREAM, message

LIMIT = 4 * MIB
# Replies that are found bad when they are decoded, which is after the trailers have said OK.
BAD_REPLIES = [
    one for one in ANSWERS if "decompression bomb" in one.name or "without an encoding" in one.name
]


@pytest.mark.anyio
@pytest.mark.parametrize("answer", BAD_REPLIES, ids=lambda answer: answer.name)
async def test_a_status_that_is_asked_for_first_is_the_calls(answer: Answer) -> None:
    """Also where `status()` is asked for before the reply is taken and read."""
    with answering(answer) as server:
        async with gyr.Channel(f"127.0.0.1:{server.port}") as channel:
            call = Stub(channel).unary(BytesValue(), timeout=SAFETY_NET_S)
            before = (await call.status()).code
            with pytest.raises(gyr.RpcError) as caught:
                await call
    assert before == caught.value.code


@pytest.mark.parametrize("name", [name for name in BOMB_NAMES if name != "zstd"])
def test_a_bomb_is_not_held_twice(name: str) -> None:
    """What is over the limit is not put together before it is thrown away."""
    compression = COMPRESSIONS.get(name)
    assert compression is not None
    packed = compression.compress(bytes(BOMB_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(MessageTooLargeError):
            compression.decompress(packed, LIMIT)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= LIMIT + MIB


BOMBS = 50
BOMB = GZIP.compress(bytes(LIMIT + 1))
LARGE = GZIP.compress(BytesValue(value=bytes(MIB)).SerializeToString())


def send_bombs(port: int, encoding: bytes) -> None:
    """Calls that come in one read, of four kilobytes each."""
    with attacking(port) as attacker:
        attacker.send(
            b"".join(
                request_head(number, "Unary", (b"grpc-encoding", encoding))
                + data(number, message(BOMB, 1), END_STREAM)
                for number in range(1, 2 * BOMBS, 2)
            )
        )
        while len(attacker.statuses) < BOMBS:
            assert attacker.wait()


def send_large(port: int, encoding: bytes) -> None:
    """Messages of one stream that come in one read and inflate to a megabyte each."""
    with attacking(port) as attacker:
        attacker.send(
            request_head(1, "ClientStream", (b"grpc-encoding", encoding))
            + b"".join(data(1, message(LARGE, 1)) for _ in range(BOMBS))
            + data(1, b"", END_STREAM)
        )
        while not attacker.statuses:
            assert attacker.wait()


async def client_stream(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    count = 0
    async for request in requests:
        count += len(request.value) == MIB
    assert count == BOMBS
    return BytesValue()


async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return request


@pytest.mark.anyio
@pytest.mark.parametrize("compression", [Whole, InParts])
@pytest.mark.parametrize(("send", "size"), [(send_bombs, LIMIT), (send_large, MIB)])
async def test_the_loop_turns_between_bombs(
    compression: type[Whole],
    send: Callable[[int, bytes], None],
    size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4 MiB take 3 ms or longer: a neighbour waits for all that is inflated in one turn."""
    counting = compression()
    add(counting, monkeypatch)
    async with gyr.Server([Calls(unary=unary, client_stream=client_stream)]) as server:
        port = await server.listen("127.0.0.1:0")
        await asyncio.to_thread(send, port, counting.name.encode())
    assert counting.total >= BOMBS * size
    assert counting.most <= ALLOWANCE + counting.most_over
