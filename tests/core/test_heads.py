"""Heads that make way for another, and answers that end without trailers."""

from __future__ import annotations

import pytest

from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields

from .wires import REQUEST, RESPONSE_PAIRS, FrameType, frame, head, join, only, pump


def test_an_oversized_informational_head_does_not_mark_the_final_one() -> None:
    client = Connection(server=False, max_header_bytes=200)
    stream = client.open(REQUEST)
    client.take_output()
    client.receive(
        frame(FrameType.SETTINGS, 0, 0)
        + head(1, [(b":status", b"103"), (b"link", b"x" * 400)])
        + head(1, [(b":status", b"200")])
    )
    assert stream.head is not None
    assert (stream.oversized_head, stream.head.pairs()) == (False, [(b":status", b"200")])


def test_an_answer_without_trailers_lets_go_of_a_request_that_goes_on() -> None:
    client, server = join()
    stream = client.open(REQUEST)
    pump(client, server)
    answer = only(server.take_ready())
    answer.send_head(Fields([(b":status", b"415")]))
    answer.finish()
    pump(client, server)
    assert (stream.reset_code, server.open_streams) == (0, 0)


@pytest.mark.parametrize("limit", [0, 10, 41, 42])
def test_a_head_with_no_field_under_the_limit_is_oversized_and_nothing_worse(limit: int) -> None:
    client = Connection(server=False, max_header_bytes=limit)
    stream = client.open(REQUEST)
    client.take_output()
    client.receive(frame(FrameType.SETTINGS, 0, 0) + head(1, RESPONSE_PAIRS))
    assert stream.oversized_head is True
    assert client.failure is None
