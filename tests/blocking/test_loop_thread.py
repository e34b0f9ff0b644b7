"""A loop in a thread of its own: what runs there, what ends it, and what is put into its inbox."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from gyrfalcon.transport import loops
from gyrfalcon.transport.loops import Inbox, LoopThread
from tests.blocking.programs import SAFETY_NET_S

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE")


@pytest.fixture(params=["asyncio", "uvloop"])
def thread(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopThread]:
    if request.param == "asyncio":
        monkeypatch.setattr(loops, "loop_factory", lambda: None)
    thread = LoopThread("a-loop")
    thread.start()
    yield thread
    thread.stop()


async def name_of_thread() -> str:
    return threading.current_thread().name


async def fail() -> None:
    raise LookupError("as told")


async def wait_for_ever(started: threading.Event, ended: list[str]) -> None:
    started.set()
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        ended.append("cancelled")


def test_coroutines_run_in_the_thread_and_their_outcome_comes_back(thread: LoopThread) -> None:
    assert thread.run(name_of_thread()) == "a-loop"
    assert thread.submit(name_of_thread()).result(SAFETY_NET_S) == "a-loop"
    with pytest.raises(LookupError, match="as told"):
        thread.run(fail())


def test_a_coroutine_has_the_context_of_its_caller(thread: LoopThread) -> None:
    async def read() -> str:
        return VARIABLE.get()

    token = VARIABLE.set("the caller's")
    try:
        assert thread.run(read()) == "the caller's"
    finally:
        VARIABLE.reset(token)


def test_starting_again_changes_nothing(thread: LoopThread) -> None:
    before = threading.active_count()
    thread.start()
    assert threading.active_count() == before


def test_stopping_cancels_what_runs_and_leaves_no_thread(thread: LoopThread) -> None:
    started, ended = threading.Event(), list[str]()
    future = thread.submit(wait_for_ever(started, ended))
    assert started.wait(SAFETY_NET_S)
    thread.stop()
    assert ended == ["cancelled"]
    assert [one for one in threading.enumerate() if one.name == "a-loop"] == []
    with pytest.raises(CancelledError):
        future.result(0)
    thread.stop()


def test_what_was_submitted_before_the_end_has_an_outcome(thread: LoopThread) -> None:
    futures = [thread.submit(name_of_thread()) for _ in range(100)]
    thread.stop()
    assert [future.done() for future in futures] == [True] * 100


def test_after_the_end_it_says_so(thread: LoopThread) -> None:
    thread.stop()
    for call in (thread.run, thread.submit):
        with pytest.raises(RuntimeError, match="the loop thread 'a-loop' has ended"):
            call(name_of_thread())
    with pytest.raises(RuntimeError, match="has ended; make a new one"):
        thread.start()


def test_before_the_start_it_says_so() -> None:
    thread = LoopThread("early")
    with pytest.raises(RuntimeError, match="the loop thread 'early' was not started"):
        thread.run(name_of_thread())
    assert thread.join() is True


def test_the_loop_does_not_wait_for_itself(thread: LoopThread) -> None:
    async def run_here() -> None:
        thread.run(name_of_thread())

    with pytest.raises(RuntimeError, match="'a-loop' would wait for itself"):
        thread.run(run_here())


def test_the_loop_may_end_itself(thread: LoopThread) -> None:
    async def end() -> None:
        thread.end()

    thread.submit(end())
    assert thread.join(SAFETY_NET_S) is True


def test_waiting_for_the_end_has_a_time(thread: LoopThread) -> None:
    assert thread.join(0) is False


def test_no_loop_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_loop() -> asyncio.AbstractEventLoop:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(loops, "loop_factory", lambda: no_loop)
    thread = LoopThread("never")
    with pytest.raises(OSError, match="Too many open files"):
        thread.start()
    assert thread.started is False


def test_no_thread_no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    thread = LoopThread("never")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            thread.start()
    thread.start()
    assert thread.run(name_of_thread()) == "never"
    thread.stop()


# ------------------------------------------------------------------ inbox


def test_one_wake_up_for_all_that_was_put() -> None:
    called: list[int] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        inbox = Inbox(loop)
        wake_ups = 0
        call_soon_threadsafe = loop.call_soon_threadsafe

        def count(*arguments: object) -> None:
            nonlocal wake_ups
            wake_ups += 1
            call_soon_threadsafe(*arguments)  # type: ignore[arg-type]

        loop.call_soon_threadsafe = count  # type: ignore[assignment, method-assign]
        for number in range(100):
            inbox.put(called.append, number)
        assert called == []
        await asyncio.sleep(0)
        return wake_ups

    assert asyncio.run(main()) == 1
    assert called == list(range(100))


def test_nothing_is_lost_between_threads_and_each_thread_keeps_its_order(
    thread: LoopThread,
) -> None:
    called: list[tuple[int, int]] = []
    inbox = thread.inbox
    assert inbox is not None

    def put(number: int) -> None:
        for n in range(2000):
            inbox.put(called.append, (number, n))

    putting = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for one in putting:
        one.start()
    for one in putting:
        one.join(SAFETY_NET_S)

    async def close() -> None:
        inbox.close()

    thread.run(close())
    for number in range(4):
        assert [n for who, n in called if who == number] == list(range(2000))
    assert len(called) == 8000


def test_a_function_that_fails_is_reported_and_the_next_is_called(thread: LoopThread) -> None:
    reported: list[str] = []
    called = threading.Event()
    inbox = thread.inbox
    assert inbox is not None
    inbox.loop.set_exception_handler(lambda loop, context: reported.append(context["message"]))
    inbox.put(int, "no number")
    inbox.put(called.set)
    assert called.wait(SAFETY_NET_S)
    assert reported == ["<class 'int'> failed"]


def test_after_the_end_functions_are_called_at_once(thread: LoopThread) -> None:
    inbox = thread.inbox
    assert inbox is not None
    thread.stop()
    called: list[str] = []
    for _ in range(2):
        inbox.put(lambda: called.append(threading.current_thread().name))
    assert called == [threading.current_thread().name] * 2
