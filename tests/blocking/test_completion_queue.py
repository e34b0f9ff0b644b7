"""The completion queue by itself: every event once, in order, and a clear end."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import weakref
from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import gyrfalcon as gyr
from gyrfalcon.blocking import CompletionQueue, Event, Operation
from tests.blocking.programs import SAFETY_NET_S, next_event


def put(queue: CompletionQueue, *tags: object) -> None:
    for tag in tags:
        queue.reserve()
        queue.complete(Event(tag))


# ------------------------------------------------------------------ events


def test_an_event_that_went_well_has_its_value() -> None:
    call = object()
    event = Event("tag", Operation.READ, call=call, value=7)
    assert (event.tag, event.operation, event.call, event.ok) == ("tag", Operation.READ, call, True)
    assert event.result() == 7
    assert repr(event) == "<Event READ tag='tag' ok=True>"


def test_an_event_that_failed_raises_its_error_each_time() -> None:
    event: Event[int] = Event(1, Operation.START, error=gyr.NotFound("no such thing"))
    assert event.ok is False
    for _ in range(3):
        with pytest.raises(gyr.NotFound, match="no such thing") as caught:
            event.result()
        assert len(caught.traceback) == 2, "the traceback grows with each result()"
    assert repr(event) == "<Event START tag=1 error=NotFound('no such thing', code=NOT_FOUND)>"


def test_a_read_at_the_end_is_not_ok_and_its_result_is_none() -> None:
    event: Event[Any] = Event(1, Operation.READ, ok=False)
    assert (event.ok, event.result()) == (False, None)


# ------------------------------------------------------------------ taking


def test_events_come_in_the_order_in_which_they_were_completed() -> None:
    queue = CompletionQueue()
    put(queue, "a", "b", "c")
    assert [next_event(queue).tag for _ in range(3)] == ["a", "b", "c"]


@pytest.mark.parametrize("tag", [None, 0, (1, 2), [1], {}, print], ids=repr)
def test_any_object_is_a_tag_and_comes_back_itself(tag: object) -> None:
    queue = CompletionQueue()
    put(queue, tag)
    assert next_event(queue).tag is tag


@pytest.mark.parametrize("seconds", [0, 0.001])
def test_next_raises_when_its_time_is_over(seconds: float) -> None:
    queue = CompletionQueue()
    queue.reserve()
    with pytest.raises(TimeoutError, match=f"no operation ended within {seconds:g} seconds"):
        queue.next(timeout=seconds)
    queue.complete(Event("late"))
    assert next_event(queue).tag == "late"


def test_next_takes_the_longest_of_times() -> None:
    queue = CompletionQueue()
    put(queue, 1)
    event = queue.next(timeout=float("inf"))
    assert event is not None
    assert event.tag == 1


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_next_refuses_a_time_that_is_none(timeout: float) -> None:
    with pytest.raises(ValueError, match=f"timeout={timeout!r} is out of range"):
        CompletionQueue().next(timeout=timeout)


def test_next_wakes_for_an_event_of_another_thread() -> None:
    queue = CompletionQueue()
    queue.reserve()
    thread = threading.Thread(target=queue.complete, args=(Event("there"),))
    thread.start()
    assert next_event(queue).tag == "there"
    thread.join()


def test_ctrl_c_interrupts_next_and_no_event_is_lost() -> None:
    queue = CompletionQueue()
    queue.reserve()
    main = threading.main_thread().ident
    assert main == threading.get_ident()

    def interrupt() -> None:
        while sys._current_frames()[main].f_code is not CompletionQueue.next.__code__:
            pass
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 (it may come a moment later)
        thread.start()
        queue.next(timeout=SAFETY_NET_S)
    thread.join()
    queue.complete(Event("after"))
    assert next_event(queue).tag == "after"


# ------------------------------------------------------------------ the end


def test_after_shutdown_next_returns_none_again_and_again() -> None:
    queue = CompletionQueue()
    put(queue, 1, 2)
    queue.shutdown()
    queue.shutdown()
    assert [event.tag for event in queue] == [1, 2]
    assert list(queue) == []
    assert [queue.next(), queue.next(timeout=0)] == [None, None]


def test_operations_under_way_are_delivered_after_shutdown() -> None:
    queue = CompletionQueue()
    queue.reserve(2)
    queue.shutdown()
    queue.complete(Event(1))
    assert next_event(queue).tag == 1
    with pytest.raises(TimeoutError):
        queue.next(timeout=0)
    queue.complete(Event(2))
    assert [event.tag for event in queue] == [2]


def test_new_operations_are_refused_after_shutdown() -> None:
    queue = CompletionQueue()
    queue.reserve()
    queue.shutdown()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="was shut down: it takes no new operations"):
            queue.reserve(3)
    queue.complete(Event("the last"))
    assert [event.tag for event in queue] == ["the last"]


def test_an_event_of_nothing_is_refused() -> None:
    queue = CompletionQueue()
    with pytest.raises(RuntimeError, match="was not reserved"):
        queue.complete(Event(1))
    queue.shutdown()
    assert list(queue) == []


def test_shutdown_wakes_every_thread_that_waits() -> None:
    queue = CompletionQueue()
    ended: deque[object] = deque()
    waiting = [threading.Thread(target=lambda: ended.append(queue.next())) for _ in range(8)]
    for thread in waiting:
        thread.start()
    queue.shutdown()
    for thread in waiting:
        thread.join(SAFETY_NET_S)
    assert list(ended) == [None] * 8


def test_a_block_shuts_down_and_waits_for_what_is_under_way() -> None:
    with CompletionQueue() as queue:
        queue.reserve(2)
        queue.complete(Event(1))
        thread = threading.Thread(target=queue.complete, args=(Event(2),))
        thread.start()
    thread.join()
    assert queue.next() is None


def test_a_block_that_fails_waits_for_nothing() -> None:
    queue = CompletionQueue()
    queue.reserve()
    with pytest.raises(ZeroDivisionError), queue:
        raise ZeroDivisionError
    with pytest.raises(RuntimeError, match="shut down"):
        queue.reserve()
    queue.complete(Event(1))
    assert [event.tag for event in queue] == [1]


def test_it_may_be_used_again_from_the_midst_of_itself() -> None:
    """A finalizer runs at any moment; here in one of the queue's own functions."""
    queue = CompletionQueue()

    class Tag:
        def __del__(self) -> None:
            put(queue, "from a finalizer")

    class Cycle:
        def __init__(self) -> None:
            self.tag, self.me = Tag(), self

    collected = weakref.ref(Cycle())
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        while collected() is not None:
            put(queue, "plain")
    finally:
        gc.set_threshold(*threshold)
    queue.shutdown()
    assert Counter(event.tag for event in queue)["from a finalizer"] == 1


# ------------------------------------------------------------------ many threads


def test_every_tag_once_with_eight_threads_on_either_side() -> None:
    """50,000 operations; failures are mixed in, and operations end on other threads than those
    that started them, the last of them after the shutdown."""
    threads, each = 8, 6250
    queue = CompletionQueue()
    under_way: deque[Event[Any]] = deque()
    taken: list[list[tuple[Any, bool]]] = [[] for _ in range(threads)]
    barrier = threading.Barrier(2 * threads)

    def issue(number: int) -> None:
        barrier.wait(SAFETY_NET_S)
        for n in range(each):
            tag = (number, n)
            error = gyr.Unavailable() if n % 7 == 0 else gyr.Cancelled() if n % 11 == 0 else None
            queue.reserve()
            under_way.append(Event(tag, Operation.START, error=error))
            if n % 2:
                # What another thread may have started.
                queue.complete(under_way.popleft())

    def drain(into: list[tuple[Any, bool]]) -> None:
        barrier.wait(SAFETY_NET_S)
        into.extend((event.tag, event.ok) for event in queue)

    issuers = [threading.Thread(target=issue, args=(number,)) for number in range(threads)]
    drainers = [threading.Thread(target=drain, args=(into,)) for into in taken]
    for thread in issuers + drainers:
        thread.start()
    for thread in issuers:
        thread.join(SAFETY_NET_S)
    queue.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        queue.reserve()
    for event in under_way:
        queue.complete(event)
    for thread in drainers:
        thread.join(SAFETY_NET_S)

    expected = Counter(
        ((number, n), not (n % 7 == 0 or n % 11 == 0))
        for number in range(threads)
        for n in range(each)
    )
    assert Counter(event for into in taken for event in into) == expected
    assert queue.next() is None


def test_shutdown_in_the_midst_of_it_loses_nothing() -> None:
    """What was reserved before is delivered, what comes later is refused; nobody hangs."""
    for _ in range(10):
        queue = CompletionQueue()
        started = [0] * 4
        barrier = threading.Barrier(5)

        def issue(
            number: int,
            queue: CompletionQueue = queue,
            started: list[int] = started,
            barrier: threading.Barrier = barrier,
        ) -> None:
            barrier.wait(SAFETY_NET_S)
            try:
                while True:
                    queue.reserve()
                    started[number] += 1
                    queue.complete(Event(number))
            except RuntimeError:
                pass

        threads = [threading.Thread(target=issue, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait(SAFETY_NET_S)
        next_event(queue)
        queue.shutdown()
        taken = 1 + sum(1 for _ in queue)
        for thread in threads:
            thread.join(SAFETY_NET_S)
        assert taken == sum(started)


class AnyOrder(RuleBasedStateMachine):
    """Every order of operations, against a plain list."""

    @initialize()
    def begin(self) -> None:
        self.queue = CompletionQueue()
        self.under_way = 0
        self.waiting: list[int] = []
        self.tags = 0
        self.shut = False

    @rule(n=st.integers(1, 5))
    def reserve(self, n: int) -> None:
        if self.shut:
            with pytest.raises(RuntimeError, match="shut down"):
                self.queue.reserve(n)
        else:
            self.queue.reserve(n)
            self.under_way += n

    @rule()
    def complete(self) -> None:
        event: Event[Any] = Event(self.tags)
        if not self.under_way:
            with pytest.raises(RuntimeError, match="was not reserved"):
                self.queue.complete(event)
            return
        self.queue.complete(event)
        self.waiting.append(self.tags)
        self.under_way -= 1
        self.tags += 1

    @rule()
    def take(self) -> None:
        if self.waiting:
            assert next_event(self.queue).tag == self.waiting.pop(0)
        elif self.shut and not self.under_way:
            assert self.queue.next(timeout=0) is None
        else:
            with pytest.raises(TimeoutError):
                self.queue.next(timeout=0)

    @rule()
    def shutdown(self) -> None:
        self.queue.shutdown()
        self.shut = True

    @invariant()
    def says_what_it_is(self) -> None:
        if hasattr(self, "queue"):
            state = "shut down" if self.shut else "open"
            text = f"<CompletionQueue {state}, {self.under_way} under way, "
            assert repr(self.queue).startswith(text)


TestAnyOrder = AnyOrder.TestCase
