"""Reloads and rolling restarts under load fail no call: a few seconds of what the programs do for
as long as they are asked to."""

from __future__ import annotations

import pytest

from tests.endurance.programs import report_of

HUP_CLIENTS = {
    "asyncio, one channel",
    "asyncio, a channel a call",
    "blocking",
    "grpcio, one channel",
    "grpcio, a channel a call",
}


def test_a_reload_fails_no_call() -> None:
    report = report_of("hup", "--reloads", 1)
    assert (report["why"], report["failed"], report["status"]) == ([], 0, 0)
    assert set(report["made"]) - {"h2load"} == HUP_CLIENTS
    # Two before, two after: calls came to all of them.
    assert report["processes"] == 4


@pytest.mark.parametrize("client", ["asyncio", "blocking", "grpcio"])
def test_a_rolling_restart_fails_no_call(client: str) -> None:
    report = report_of("rolling", "--clients", client, "--rate", 200)[client]
    assert report["why"] == []
    assert report["OK"] == report["begun"]
    assert report["begun"] > 0
