"""Calls whose steps are events of a completion queue."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from gyrfalcon.blocking import CompletionQueue, Event, Operation
from tests.blocking.service import HANDLERS, SAFETY_NET_S, serving_threads
from tests.call.service import message


def take(queue: CompletionQueue) -> Event[Any]:
    event = queue.next(SAFETY_NET_S)
    assert event is not None
    return event


def test_one_thread_starts_and_another_drains() -> None:
    queue = CompletionQueue()
    answers: dict[int, bytes] = {}

    def drain() -> None:
        for event in queue:
            assert (event.operation, event.ok) == (Operation.FINISH, True)
            answers[event.tag] = event.result().value

    with serving_threads(**HANDLERS) as stub:
        thread = threading.Thread(target=drain)
        thread.start()
        for number in range(100):
            stub.unary.start(message(b"%d" % number), queue=queue, tag=number)
        queue.shutdown()
        thread.join()
    assert answers == {number: b"%d" % number for number in range(100)}


def test_any_object_is_a_tag() -> None:
    tags: list[Any] = [None, object(), [1, 2], "text", lambda: None]
    queue = CompletionQueue()
    with serving_threads(**HANDLERS) as stub:
        for tag in tags:
            stub.unary.start(message(), queue=queue, tag=tag)
            assert take(queue).tag is tag


def test_a_failure_is_an_event() -> None:
    def fail(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.Aborted("no")

    queue = CompletionQueue()
    with serving_threads(unary=fail) as stub:
        call = stub.unary.start(message(), queue=queue, tag=1)
        event = take(queue)
        assert (event.tag, event.ok, event.call) == (1, False, call)
        with pytest.raises(gyr.Aborted, match="no"):
            event.result()


def test_replies_are_read_one_by_one() -> None:
    queue = CompletionQueue()
    with serving_threads(**HANDLERS) as stub:
        call = stub.server_stream.start(message(b"2"), queue=queue, tag="start")
        seen = []
        event = take(queue)
        assert (event.tag, event.operation, event.ok) == ("start", Operation.START, True)
        for number in itertools.count():
            call.read(number)
            event = take(queue)
            assert (event.tag, event.operation) == (number, Operation.READ)
            if not event.ok:
                assert event.result() is None
                break
            seen.append(event.result().value)
        assert seen == [b"2", b"1"]
        call.finish("end")
        event = take(queue)
        assert (event.tag, event.operation, event.ok) == ("end", Operation.FINISH, True)
        assert event.result() == gyr.Status(gyr.StatusCode.OK)


def test_requests_are_written_one_by_one() -> None:
    queue = CompletionQueue()
    with serving_threads(**HANDLERS) as stub:
        call = stub.client_stream.start(queue=queue, tag="start")
        assert take(queue).operation is Operation.START
        call.finish("end")
        for part in (b"a", b"b"):
            call.write(message(part), part)
            event = take(queue)
            assert (event.tag, event.operation, event.ok) == (part, Operation.WRITE, True)
        call.done_sending("half-close")
        events = {event.tag: event for event in (take(queue), take(queue))}
        assert events["half-close"].operation is Operation.DONE_SENDING
        assert events["end"].result() == message(b"ab")


def test_reads_and_writes_are_independent() -> None:
    queue = CompletionQueue()
    with serving_threads(**HANDLERS) as stub:
        call = stub.bidi.start(queue=queue, tag=0)
        take(queue)
        call.read("read")
        with pytest.raises(RuntimeError, match="READ is under way"):
            call.read("another")
        call.write(message(b"x"), "write")
        events = {event.tag: event for event in (take(queue), take(queue))}
        assert events["write"].ok
        assert events["read"].result() == message(b"x")
        call.done_sending("half-close")
        take(queue)
        call.read("read")
        assert (take(queue).ok, call.cancel()) == (False, False)


def test_a_write_after_the_end_fails() -> None:
    def first(requests: Iterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
        raise gyr.PermissionDenied("go away")

    queue = CompletionQueue()
    with serving_threads(client_stream=first) as stub:
        call = stub.client_stream.start(queue=queue, tag=0)
        take(queue)
        call.finish("end")
        assert take(queue).ok is False
        call.write(message(), "write")
        event = take(queue)
        assert (event.tag, event.ok) == ("write", False)
        with pytest.raises(gyr.PermissionDenied):
            event.result()


def test_cancel_ends_what_is_under_way() -> None:
    queue = CompletionQueue()
    with serving_threads(**HANDLERS) as stub:
        call = stub.bidi.start(queue=queue, tag=0)
        take(queue)
        call.read("read")
        call.finish("end")
        assert call.cancel() is True
        events = {event.tag: event for event in (take(queue), take(queue))}
        assert [events[tag].ok for tag in ("read", "end")] == [False, False]
        with pytest.raises(gyr.Cancelled):
            events["end"].result()


def test_a_queue_that_was_shut_down_takes_no_call() -> None:
    queue = CompletionQueue()
    queue.shutdown()
    with serving_threads(**HANDLERS) as stub:
        with pytest.raises(RuntimeError, match="was shut down"):
            stub.unary.start(message(), queue=queue, tag=1)
        assert queue.next(0) is None


def test_a_call_that_cannot_be_made_leaves_nothing_under_way() -> None:
    queue = CompletionQueue()
    wrong: Any = "no message"
    with serving_threads(**HANDLERS) as stub, pytest.raises(TypeError):
        stub.unary.start(wrong, queue=queue, tag=1)
    queue.shutdown()
    assert list(queue) == []


def test_many_threads_start_and_many_drain() -> None:
    calls, issuers, drainers = 50_000, 8, 8
    queue = CompletionQueue()
    outcomes: list[Counter[tuple[str, bool]]] = [Counter() for _ in range(drainers)]
    tags: list[list[int]] = [[] for _ in range(drainers)]
    in_flight = threading.Semaphore(2_000)

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if int(request.value) % 10 == 3:
            raise gyr.NotFound("every tenth")
        return request

    def issue(first: int) -> None:
        for tag in range(first, calls, issuers):
            in_flight.acquire()
            call = stub.unary.start(message(b"%d" % tag), queue=queue, tag=tag)
            if tag % 10 == 7:
                call.cancel()

    def drain(number: int) -> None:
        for event in queue:
            in_flight.release()
            tags[number].append(event.tag)
            try:
                assert event.result().value == b"%d" % event.tag
                outcome = "ok"
            except gyr.RpcError as error:
                outcome = error.code.name
            # A call that was cancelled may have been answered before that.
            outcomes[number][outcome, event.tag % 10 == 7] += 1

    with serving_threads(unary=unary) as stub:
        started = [threading.Thread(target=issue, args=(first,)) for first in range(issuers)]
        drained = [threading.Thread(target=drain, args=(number,)) for number in range(drainers)]
        for thread in (*started, *drained):
            thread.start()
        for thread in started:
            thread.join()
        queue.shutdown()
        for thread in drained:
            thread.join()
    assert sorted(itertools.chain(*tags)) == list(range(calls))
    total = sum(outcomes, Counter())
    assert total["ok", False] == calls * 8 // 10
    assert total["NOT_FOUND", False] == calls // 10
    assert total["ok", True] + total["CANCELLED", True] == calls // 10
