"""What an interceptor sees of one call is its own, also when what is made for it serves many."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.faces import FACES, HANDLERS, asking

pytestmark = pytest.mark.anyio

SIDES = ("server_options", "channel_options")
CALLS = 20


class Noting(gyr.Interceptor):
    """Notes of each call what is there at its beginning, and leaves notes in it."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        number = len(self.seen)
        self.seen.append((dict(call.state), call.attempt, call.request.value))
        call.state[self] = number
        if number % 4 == 1:
            raise gyr.FailedPrecondition("every fourth is refused")
        if number % 4 == 2:
            call.answer(call.request, trailing_metadata={"answered": "yes"})
            return
        outcome = yield
        assert (call.state[self], outcome.code) == (number, gyr.StatusCode.OK)
        assert "answered" not in outcome.trailing_metadata


class Keeping(gyr.Interceptor):
    """Keeps what it got, after the call is over."""

    def __init__(self) -> None:
        self.kept: list[tuple[gyr.InterceptedCall, Any]] = []

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        call.state["number"] = len(self.kept)
        outcome = yield
        self.kept.append((call, outcome))


class Comparing(gyr.Interceptor):
    """Notes all of an outcome when it comes, and keeps every third."""

    def __init__(self) -> None:
        self.seen: list[tuple[Any, ...]] = []
        self.kept: dict[int, Any] = {}

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        outcome = yield
        if len(self.seen) % 3 == 0:
            self.kept[len(self.seen)] = outcome
        self.seen.append(parts(outcome))


def parts(outcome: Any) -> tuple[Any, ...]:
    return (
        outcome.code.name,
        outcome.message,
        tuple(detail.value for detail in outcome.details),
        None if outcome.error is None else type(outcome.error),
        outcome.trailing_metadata.get("tail"),
    )


async def refuse_odd(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    if int(request.value) % 2 == 0:
        return request
    raise gyr.FailedPrecondition(
        "odd", details=[BytesValue(value=request.value)], trailing_metadata={"tail": "odd"}
    )


class Repeating(gyr.Interceptor):
    """Makes every other call once more."""

    def __init__(self) -> None:
        self.attempts: list[int] = []
        self.calls = 0

    def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
        self.calls += 1
        self.attempts.append(call.attempt)
        yield
        if self.calls % 2:
            yield
            self.attempts.append(call.attempt)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("side", SIDES)
async def test_a_call_begins_without_what_was_there_of_another(side: str, face: str) -> None:
    noting = Noting()
    asked = [b"%d" % number for number in range(CALLS)]
    async with asking(face, **{side: {"interceptors": [noting]}}, **HANDLERS) as ask:
        for number, data in enumerate(asked):
            if number % 4 == 1:
                with pytest.raises(gyr.FailedPrecondition, match="every fourth"):
                    await ask("unary", data)
            else:
                assert await ask("unary", data) == [data]
    assert noting.seen == [({}, 0, data) for data in asked]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("side", SIDES)
async def test_what_is_kept_of_a_call_stays_that_calls(side: str, face: str) -> None:
    keeping = Keeping()
    asked = [b"%d" % number for number in range(CALLS)]
    async with asking(face, **{side: {"interceptors": [keeping]}}, **HANDLERS) as ask:
        for data in asked:
            await ask("unary", data)
    found = [(call.state["number"], call.request.value) for call, _ in keeping.kept]
    assert found == list(enumerate(asked))
    assert [(outcome.code.name, outcome.error) for _, outcome in keeping.kept] == [
        ("OK", None)
    ] * CALLS


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("side", SIDES)
async def test_an_outcome_shows_nothing_of_another_call(side: str, face: str) -> None:
    comparing = Comparing()
    async with asking(face, **{side: {"interceptors": [comparing]}}, unary=refuse_odd) as ask:
        for number in range(CALLS):
            with pytest.raises(gyr.FailedPrecondition) if number % 2 else nullcontext():
                await ask("unary", b"%d" % number)
    assert comparing.seen == [
        ("FAILED_PRECONDITION", "odd", (b"%d" % number,), gyr.FailedPrecondition, "odd")
        if number % 2
        else ("OK", "", (), None, None)
        for number in range(CALLS)
    ]
    kept = {number: parts(outcome) for number, outcome in comparing.kept.items()}
    assert kept == {number: comparing.seen[number] for number in range(0, CALLS, 3)}


@pytest.mark.parametrize("face", FACES)
async def test_attempts_are_counted_anew(face: str) -> None:
    repeating = Repeating()
    async with asking(face, channel_options={"interceptors": [repeating]}, **HANDLERS) as ask:
        for _ in range(4):
            assert await ask("unary", b"x") == [b"x"]
    assert repeating.attempts == [0, 1, 0, 0, 1, 0]
