"""Connectivity states and how those of subchannels add up."""

from __future__ import annotations

import pytest

from gyrfalcon.policy import ConnectivityState, aggregate

IDLE, CONNECTING, READY, FAILED, SHUTDOWN = ConnectivityState


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([FAILED, CONNECTING, READY, IDLE], READY),
        ([FAILED, IDLE, CONNECTING], CONNECTING),
        ([FAILED, IDLE], IDLE),
        ([FAILED, FAILED], FAILED),
        ([SHUTDOWN], FAILED),
        ([], FAILED),
    ],
)
def test_the_best_state_counts(
    states: list[ConnectivityState], expected: ConnectivityState
) -> None:
    assert aggregate(states) is expected


def test_names_are_those_of_grpc() -> None:
    assert [state.name for state in ConnectivityState] == [
        "IDLE",
        "CONNECTING",
        "READY",
        "TRANSIENT_FAILURE",
        "SHUTDOWN",
    ]
