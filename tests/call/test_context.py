"""What handlers know of their calls, and say beside their replies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import collect, message, serving

pytestmark = pytest.mark.anyio


async def test_the_context_knows_the_call() -> None:
    seen: list[gyr.ServerContext] = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(ctx)
        assert ctx.method == "/tests.Calls/Unary"
        assert ctx.peer.startswith("ipv4:192.0.2.254:")
        assert (ctx.deadline, ctx.time_remaining(), ctx.cancelled) == (None, None, False)
        assert ctx.metadata.get_all("tenant") == ["eu", "us"]
        assert str(ctx.metadata["user-agent"]).startswith("gyrfalcon/")
        assert ctx.metadata is ctx.metadata
        return request

    async with serving(unary=note) as stub:
        await stub.unary(message(), metadata=[("tenant", "eu"), ("tenant", "us")])
        await stub.unary(message(), metadata={"tenant": ["eu", "us"]})
    assert seen[0] is not seen[1]


async def test_the_deadline_is_on_the_monotonic_clock() -> None:
    seen: list[tuple[float | None, float | None]] = []

    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append((ctx.deadline, ctx.time_remaining()))
        return request

    async with serving(unary=note) as stub:
        before = time.monotonic()
        await stub.unary(message(), timeout=40)
    ((deadline, remaining),) = seen
    assert deadline is not None
    assert remaining is not None
    # On its way a timeout may be rounded up by a millisecond.
    assert before < deadline <= time.monotonic() + 40.01
    assert 0 < remaining <= 40.01


async def test_metadata_of_every_kind_travels_both_ways() -> None:
    sent: list[tuple[str, str | bytes]] = [
        ("tenant", "eu"),
        ("tenant", "us"),
        ("x-empty", ""),
        ("a.b_c-d", "~!@#$%^&*()"),
        ("one-bin", b"\x00"),
        ("two-bin", b"\x00\x01"),
        ("three-bin", b"\x00\x01\x02"),
        ("none-bin", b""),
        ("tenant", "third"),
    ]

    async def mirror(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await ctx.send_initial_metadata(ctx.metadata)
        ctx.trailing_metadata = ctx.metadata
        return request

    async with serving(unary=mirror) as stub:
        call = stub.unary(message(), metadata=sent)
        await call
        assert (await call.initial_metadata()).items() == sent
        assert (await call.trailing_metadata()).items() == sent


@pytest.mark.parametrize(
    "metadata",
    [
        {"grpc-timeout": "1S"},
        {":path": "/x"},
        {"content-type": "text/plain"},
        {"te": "gzip"},
        {"bad key": "x"},
        {"key": "line\nbreak"},
        {"key": "é"},
        {"key": b"bytes"},
        {"key-bin": "text"},
        {"": "x"},
    ],
    ids=str,
)
async def test_metadata_that_cannot_be_sent_is_refused_where_it_is_given(
    metadata: dict[str, str | bytes],
) -> None:
    errors: list[Exception] = []

    async def send(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        for attempt in (
            lambda: ctx.send_initial_metadata(metadata),
            lambda: ctx.trailing_metadata.add(*next(iter(metadata.items()))),
        ):
            with pytest.raises(ValueError, match="metadata") as caught:
                attempt()
            errors.append(caught.value)
        return request

    async with serving(unary=send) as stub:
        with pytest.raises(ValueError, match="metadata"):
            stub.unary(message(), metadata=metadata)
        await stub.unary(message())
    assert len(errors) == 2


async def test_initial_metadata_is_sent_once_and_before_the_replies() -> None:
    async def twice(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        await ctx.send_initial_metadata({"a": "1"})
        with pytest.raises(RuntimeError, match="once"):
            await ctx.send_initial_metadata({"a": "2"})
        yield request

    async def late(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        yield request
        with pytest.raises(RuntimeError, match="before the first reply"):
            await ctx.send_initial_metadata({"a": "1"})
        yield request

    async with serving(server_stream=twice) as stub:
        call = stub.server_stream(message())
        assert (await call.initial_metadata()).items() == [("a", "1")]
        assert await collect(call) == [b""]
    async with serving(server_stream=late) as stub:
        assert await collect(stub.server_stream(message())) == [b"", b""]


async def test_initial_metadata_may_be_sent_without_waiting_for_it() -> None:
    async def plain(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        await ctx.send_initial_metadata()
        return request

    async with serving(unary=plain) as stub:
        call = stub.unary(message())
        await call
        assert (await call.initial_metadata()).items() == []


async def test_trailing_metadata_of_streams_may_depend_on_what_was_streamed() -> None:
    async def count(
        requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
    ) -> AsyncIterator[BytesValue]:
        number = 0
        async for request in requests:
            number += 1
            yield request
        ctx.trailing_metadata["count"] = str(number)

    async with serving(bidi=count) as stub:
        call = stub.bidi([message()] * 3)
        await collect(call)
        assert (await call.trailing_metadata())["count"] == "3"


async def test_metadata_that_was_received_can_be_passed_on() -> None:
    async def note(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(repr(ctx.metadata.get_all("tenant")).encode())

    async with serving(unary=note) as inner:

        async def ask(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
            return await inner.unary(request, metadata=ctx.metadata)

        async with serving(unary=ask) as outer:
            reply = await outer.unary(message(), metadata={"tenant": ["eu", "us"]})
            assert reply.value == b"['eu', 'us']"


@pytest.mark.parametrize("name", ["gzip", "deflate", "identity"])
async def test_replies_are_compressed_as_the_handler_says(name: str) -> None:
    async def compressed(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
        assert ctx.compression == "identity"
        ctx.compression = name
        assert ctx.compression == name
        yield message(b"x" * 100_000)
        with pytest.raises(RuntimeError, match="compression"):
            ctx.compression = "gzip"
        yield message(b"y" * 100_000)

    async with serving(server_stream=compressed) as stub:
        replies = await collect(stub.server_stream(message()))
        assert replies == [b"x" * 100_000, b"y" * 100_000]


async def test_a_compression_that_nobody_knows_is_refused() -> None:
    async def wrong(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        with pytest.raises(ValueError, match="lzma"):
            ctx.compression = "lzma"
        return request

    async with serving(unary=wrong) as stub:
        await stub.unary(message())
        with pytest.raises(ValueError, match="lzma"):
            stub.unary(message(), compression="lzma")


async def test_the_context_may_be_kept_after_the_call() -> None:
    kept: list[gyr.ServerContext] = []

    async def keep(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        kept.append(ctx)
        return request

    async with serving(unary=keep) as stub:
        await stub.unary(message(), metadata={"tenant": "eu"}, timeout=50)
    (ctx,) = kept
    assert ctx.metadata["tenant"] == "eu"
    assert ctx.method == "/tests.Calls/Unary"
    assert (ctx.time_remaining() or 0) > 0
    assert "/tests.Calls/Unary" in repr(ctx)
