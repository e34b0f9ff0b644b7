"""The heap of deadlines against a sorted list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.stream import Stream

from .wires import REQUEST, Event, only

INDEX = st.integers(0, 29)
TIME = st.integers(0, 50).map(float)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), INDEX, TIME),
        st.tuples(st.just("cancel"), INDEX, st.just(0.0)),
        st.tuples(st.just("time passes to"), st.just(0), TIME),
    ),
    max_size=120,
)


def due_streams(client: Connection) -> list[Stream]:
    return [stream for stream in client.take_ready() if stream.take_events() & Event.DEADLINE]


@given(STEPS)
def test_deadlines_come_in_order_each_once_whatever_is_set_moved_or_closed(
    steps: list[tuple[str, int, float]],
) -> None:
    client = Connection(server=False)
    streams = [client.open(REQUEST) for _ in range(30)]
    client.take_output()
    armed: dict[int, float] = {}
    for step, at, time in steps:
        if step == "set":
            client.set_deadline(streams[at], time)
            if not streams[at].closed:
                armed[at] = time
        elif step == "cancel":
            streams[at].cancel()
            client.take_output()
            client.take_ready()
            armed.pop(at, None)
        else:
            client.on_timeout(time)
            due = due_streams(client)
            assert [stream.deadline for stream in due] == sorted(stream.deadline for stream in due)
            expected = {at for at, deadline in armed.items() if deadline <= time}
            assert {streams.index(stream) for stream in due} == expected
            armed = {at: deadline for at, deadline in armed.items() if at not in expected}
        assert client.next_timeout() == min(armed.values(), default=None)


def test_a_deadline_fires_when_its_time_has_come_and_not_before() -> None:
    client = Connection(server=False)
    stream = client.open(REQUEST)
    client.set_deadline(stream, 2.5)
    client.on_timeout(2.4999)
    assert client.take_ready() == []
    client.on_timeout(2.5)
    assert only(client.take_ready()).take_events() == Event.DEADLINE
    client.on_timeout(100.0)
    assert (client.take_ready(), client.next_timeout()) == ([], None)


def test_a_lost_connection_has_no_deadlines_left() -> None:
    client = Connection(server=False)
    streams = [client.open(REQUEST) for _ in range(50)]
    for at, stream in enumerate(streams):
        client.set_deadline(stream, float(-at))
    client.close()
    assert client.next_timeout() is None
    client.on_timeout(1000.0)
    assert [Event.DEADLINE in Event(stream.take_events()) for stream in streams] == [False] * 50
