# pyright: reportUnnecessaryTypeIgnoreComment=error
"""What type checkers know of the blocking face: checked, never run.

A line with `type: ignore` is a mistake that they must find: without the error, the comment is one.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_type

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

import gyrfalcon as gyr
from gyrfalcon import blocking
from retail.proto.order_management_gyr import OrderManagementBlockingStub, OrderManagementService
from retail.proto.order_management_pb2 import CombinedShipment, Order


def unary(orders: OrderManagementBlockingStub) -> None:
    request = StringValue(value="106")
    assert_type(orders.get_order, blocking.UnaryUnary[StringValue, Order])
    assert_type(orders.get_order(request), Order)
    orders.get_order(request, timeout=0.5, metadata={"tenant": "eu", "trace-bin": b"\x00"})
    orders.get_order(request, wait_for_ready=True, compression="gzip")

    orders.get_order(Order())  # type: ignore[arg-type]
    orders.get_order("106")  # type: ignore[arg-type]
    orders.get_order(request, timeout="1s")  # type: ignore[arg-type]
    orders.get_order(request, deadline=1.0)  # type: ignore[call-arg]
    orders.get_order()  # type: ignore[call-arg]
    orders.find_order(request)  # type: ignore[attr-defined]
    reply: StringValue = orders.get_order(request)  # type: ignore[assignment]
    for _ in orders.get_order(request):  # type: ignore[attr-defined]
        print(reply)


def streams(orders: OrderManagementBlockingStub, changed: Iterable[Order]) -> None:
    request = StringValue(value="Google")
    found = orders.search_orders(request)
    assert_type(found, blocking.UnaryStreamCall[Order])
    assert_type(found.receive(), Order | None)
    for order in found:
        assert_type(order, Order)
    assert_type(orders.update_orders(changed), StringValue)
    assert_type(orders.update_orders([Order()], timeout=1.0), StringValue)
    with orders.process_orders() as call:
        assert_type(call, blocking.StreamStreamCall[StringValue, CombinedShipment])
        call.send(request)
        call.done_sending()
        assert_type(call.receive(), CombinedShipment | None)
        assert_type([shipment.id for shipment in call], list[str])
    for shipment in orders.process_orders(iter([request])):
        assert_type(shipment, CombinedShipment)

    orders.update_orders()  # type: ignore[call-arg]
    orders.update_orders([request])  # type: ignore[list-item]
    call.send(Order())  # type: ignore[arg-type]
    found.send(request)  # type: ignore[attr-defined]


def calls(call: blocking.StreamStreamCall[StringValue, CombinedShipment]) -> None:
    assert_type(call.initial_metadata(), gyr.Metadata)
    assert_type(call.trailing_metadata(), gyr.Metadata)
    assert_type(call.status(), gyr.Status)
    assert_type((call.method, call.peer), tuple[str, gyr.Peer | None])
    assert_type((call.deadline, call.time_remaining()), tuple[float | None, float | None])
    assert_type((call.done(), call.cancelled(), call.cancel()), tuple[bool, bool, bool])

    def over(ended: blocking.Call) -> None:
        assert_type(ended.status().code, gyr.StatusCode)

    call.add_done_callback(over)
    call.method = "/shop/Buy"  # type: ignore[misc]


def protocols(
    orders: OrderManagementBlockingStub,
) -> Sequence[blocking.UnaryStreamCall[Message]]:
    """A call is an iterator; it is covariant in its replies."""
    iterator: Iterator[Message] = orders.search_orders(StringValue())
    print(iterator)
    return [orders.search_orders(StringValue())]


def futures(orders: OrderManagementBlockingStub, changed: Iterable[Order]) -> None:
    request = StringValue(value="106")
    future = orders.get_order.future(request, timeout=1.0)
    assert_type(future, blocking.Future[Order])
    assert_type(future.result(timeout=1.0), Order)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.trailing_metadata(), gyr.Metadata)
    assert_type(future.status(), gyr.Status)
    assert_type((future.cancel(), future.cancelled(), future.done()), tuple[bool, bool, bool])
    standard: concurrent.futures.Future[Order] = future
    done, _ = concurrent.futures.wait([standard])
    assert_type([each.result() for each in done], list[Order])

    assert_type(orders.search_orders.future(request).result(), list[Order])
    assert_type(orders.process_orders.future([request]).result(), list[CombinedShipment])
    sending = orders.update_orders.future()
    assert_type(sending, blocking.StreamUnaryFuture[Order, StringValue])
    sending.send(Order())
    sending.done_sending()
    assert_type(sending.result(), StringValue)
    assert_type(orders.update_orders.future(changed).result(), StringValue)

    orders.get_order.future(Order())  # type: ignore[arg-type]
    orders.process_orders.future()  # type: ignore[call-arg]
    sending.send(request)  # type: ignore[arg-type]
    future.send(request)  # type: ignore[attr-defined]
    names: blocking.Future[StringValue] = future  # type: ignore[assignment]
    print(names)


def queues(orders: OrderManagementBlockingStub) -> None:
    request = StringValue(value="106")
    with blocking.CompletionQueue() as queue:
        call = orders.get_order.start(request, queue=queue, tag=1)
        assert_type(call, blocking.QueuedCall[StringValue, Order])
        chat = orders.process_orders.start(queue=queue, tag=object())
        assert_type(chat, blocking.QueuedCall[StringValue, CombinedShipment])
        chat.write(request, "write")
        chat.read("read")
        chat.done_sending("done sending")
        chat.finish("finish")
        assert_type(chat.status(), gyr.Status)
        assert_type(queue.next(timeout=1.0), blocking.Event[Any] | None)
        for event in queue:
            assert_type((event.ok, event.operation), tuple[bool, blocking.Operation])

        orders.get_order.start(request)  # type: ignore[call-arg]
        orders.get_order.start(request, queue=[], tag=1)  # type: ignore[arg-type]
        chat.write(Order(), "write")  # type: ignore[arg-type]
        chat.write(request)  # type: ignore[call-arg]


def result_of(event: blocking.Event[Order]) -> Order:
    assert_type(event.result(), Order)
    print(event.result().deposit)  # type: ignore[attr-defined]
    return event.result()


def channels() -> None:
    with blocking.Channel("127.0.0.1:50051", default_timeout=1.5) as channel:
        assert_type(channel, blocking.Channel)
        assert_type(channel.target, str)
        channel.wait_ready(timeout=1.0)
        OrderManagementBlockingStub(channel)
    channel.close(grace=1.0)

    blocking.Channel(50051)  # type: ignore[arg-type]
    blocking.Channel("127.0.0.1:50051", default_timeout="1s")  # type: ignore[arg-type]
    blocking.Channel("127.0.0.1:50051", timeout=1.5)  # type: ignore[call-arg]
    OrderManagementBlockingStub(gyr.Channel("127.0.0.1:50051"))  # type: ignore[arg-type]


class Answering(OrderManagementService):
    @blocking.callback
    def get_order(
        self, request: StringValue, ctx: gyr.ServerContext, finish: blocking.Finish[Order]
    ) -> None:
        assert_type(finish.cancelled, bool)
        finish(Order(id=request.value))
        finish(error=gyr.NotFound("no order"))

        finish(request)  # type: ignore[call-overload]


def servers() -> None:
    with blocking.Server([Answering()], max_receive_bytes=2**20, grace=1.0) as server:
        assert_type(server, blocking.Server)
        assert_type(server.listen("127.0.0.1:0"), int)
        assert_type(server.wait(timeout=1.0), bool)
    server.stop(grace=1.0)

    blocking.Server([object()])  # type: ignore[list-item]
    blocking.Server([Answering()], max_receive_bytes="4 MiB")  # type: ignore[arg-type]
    blocking.Server([Answering()], max_recieve_bytes=2**20)  # type: ignore[call-arg]


def queue_servers(queue: blocking.CompletionQueue) -> None:
    with blocking.QueueServer([OrderManagementService], max_waiting_calls=10) as server:
        assert_type(server, blocking.QueueServer)
        server.listen("127.0.0.1:0")
        server.request_call(OrderManagementService.get_order, queue=queue, tag="get")
        event = queue.next(timeout=1.0)
        assert event is not None
        call: blocking.QueueCall[StringValue, Order] = event.result()
        assert_type(call.request, StringValue)
        call.finish(error=gyr.NotFound("no order"), tag="finish")
        call.notify_when_done("done")

        server.request_call(OrderManagementService.get_order, queue=queue)  # type: ignore[call-arg]
