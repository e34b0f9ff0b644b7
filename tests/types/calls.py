# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What type checkers know of a client: checked, never run.

A line with `type: ignore` is a mistake that they must find: without the error, the comment is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import assert_type

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from retail.proto.order_management_gyr import OrderManagementStub
from retail.proto.order_management_pb2 import CombinedShipment, Order


async def unary(orders: OrderManagementStub) -> None:
    request = StringValue(value="106")
    assert_type(orders.get_order, gyr.UnaryUnary[StringValue, Order])
    call = orders.get_order(request, timeout=0.5, metadata={"tenant": "eu", "trace-bin": b"\x00"})
    assert_type(call, gyr.UnaryUnaryCall[Order])
    assert_type(await call, Order)
    await orders.get_order(request, metadata=[("tenant", "eu"), ("tenant", "us")])
    await orders.get_order(request, metadata=gyr.Metadata({"tenant": ["eu", "us"]}))
    await orders.get_order(request, wait_for_ready=True, compression="gzip")
    await orders.get_order(request, compression=gyr.ZstdCompression(level=1))

    await orders.get_order(Order())  # type: ignore[arg-type]
    await orders.get_order("106")  # type: ignore[arg-type]
    await orders.get_order(request, timeout="1s")  # type: ignore[arg-type]
    await orders.get_order(request, metadata={"tenant": 7})  # type: ignore[dict-item]
    await orders.get_order(request, deadline=1.0)  # type: ignore[call-arg]
    await orders.get_order()  # type: ignore[call-arg]
    orders.find_order(request)  # type: ignore[attr-defined]
    order: StringValue = await orders.get_order(request)  # type: ignore[assignment]
    async for _ in orders.get_order(request):  # type: ignore[attr-defined]
        print(order)


async def every_call(call: gyr.Call) -> None:
    assert_type(await call.initial_metadata(), gyr.Metadata)
    assert_type(await call.trailing_metadata(), gyr.Metadata)
    assert_type(await call.status(), gyr.Status)
    assert_type((await call.status()).code, gyr.StatusCode)
    assert_type(call.method, str)
    assert_type(call.peer, gyr.Peer | None)
    assert_type(call.deadline, float | None)
    assert_type(call.time_remaining(), float | None)
    assert_type((call.done(), call.cancelled(), call.cancel()), tuple[bool, bool, bool])

    call.status()  # type: ignore[unused-coroutine]
    call.method = "/shop/Buy"  # type: ignore[misc]
    await call  # type: ignore[misc]


async def callbacks(call: gyr.UnaryUnaryCall[Order]) -> None:
    def over(ended: gyr.UnaryUnaryCall[Order]) -> None:
        assert_type(ended.cancelled(), bool)

    def any_over(ended: gyr.Call) -> str:
        return ended.method

    def stream_over(ended: gyr.UnaryStreamCall[Order]) -> None: ...

    call.add_done_callback(over)
    call.add_done_callback(any_over)
    call.add_done_callback(stream_over)  # type: ignore[arg-type]


async def with_asyncio(orders: OrderManagementStub) -> None:
    request = StringValue(value="106")
    assert_type(await asyncio.wait_for(orders.get_order(request), 1.0), Order)
    first, second = await asyncio.gather(orders.get_order(request), orders.add_order(Order()))
    assert_type((first, second), tuple[Order, StringValue])
    async with orders.process_orders() as call:
        received = asyncio.create_task(call.receive())
        assert_type(await received, CombinedShipment | None)


async def server_streaming(orders: OrderManagementStub) -> None:
    call = orders.search_orders(StringValue(value="Google"))
    assert_type(call, gyr.UnaryStreamCall[Order])
    async for order in call:
        assert_type(order, Order)
    assert_type(await call.receive(), Order | None)
    assert_type([found.id async for found in orders.search_orders(StringValue())], list[str])

    await orders.search_orders(StringValue())  # type: ignore[misc]
    for _ in orders.search_orders(StringValue()):  # type: ignore[attr-defined]
        pass
    await call.send(StringValue())  # type: ignore[attr-defined]


async def client_streaming(orders: OrderManagementStub, changed: list[Order]) -> None:
    assert_type(orders.update_orders, gyr.StreamUnary[Order, StringValue])
    assert_type(orders.update_orders(changed), gyr.StreamUnaryCall[Order, StringValue])
    assert_type(await orders.update_orders(changed), StringValue)
    assert_type(await orders.update_orders(order for order in changed), StringValue)
    async with orders.update_orders() as call:
        await call.send(changed[0])
        await call.send(changed[0], compress=False)
        await call.done_sending()
        assert_type(await call, StringValue)

        await call.send(StringValue())  # type: ignore[arg-type]
        call.send(changed[0])  # type: ignore[unused-coroutine]
        call.done_sending()  # type: ignore[unused-coroutine]
        await call.receive()  # type: ignore[attr-defined]
    await orders.update_orders(["102"])  # type: ignore[list-item]
    await orders.update_orders(changed[0])  # type: ignore[arg-type]


async def bidirectional(orders: OrderManagementStub, ids: AsyncIterator[StringValue]) -> None:
    async for shipment in orders.process_orders(ids):
        assert_type(shipment, CombinedShipment)
    async with orders.process_orders() as call:
        assert_type(call, gyr.StreamStreamCall[StringValue, CombinedShipment])
        await call.send(StringValue(value="102"))
        assert_type(await call.receive(), CombinedShipment | None)
        async for shipment in call:
            assert_type(shipment.ordersList[0], Order)

        await call.send(Order())  # type: ignore[arg-type]
        await call  # type: ignore[misc]


async def protocols(orders: OrderManagementStub) -> Sequence[gyr.UnaryUnaryCall[Message]]:
    """A call is what it can do: an awaitable, an async iterable; it is covariant in its replies."""
    awaitable: Awaitable[Order] = orders.get_order(StringValue())
    iterable: AsyncIterable[Message] = orders.search_orders(StringValue())
    iterator: AsyncIterator[Order] = orders.search_orders(StringValue())
    print(await awaitable, iterable, iterator)
    return [orders.get_order(StringValue())]


async def channels() -> None:
    async with gyr.Channel("127.0.0.1:50051", default_timeout=1.5) as channel:
        assert_type(channel, gyr.Channel)
        assert_type(channel.target, str)
        OrderManagementStub(channel)
        await channel.wait_ready()
    await channel.close(grace=1.0)

    gyr.Channel(50051)  # type: ignore[arg-type]
    gyr.Channel("127.0.0.1:50051", default_timeout="1s")  # type: ignore[arg-type]
    gyr.Channel("127.0.0.1:50051", 1.5)  # type: ignore[call-arg]
    gyr.Channel("127.0.0.1:50051", timeout=1.5)  # type: ignore[call-arg]
    OrderManagementStub("127.0.0.1:50051")  # type: ignore[arg-type]
