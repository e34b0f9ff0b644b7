"""Many calls at once, servers that come later or again, between Gyrfalcon and grpcio."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, UNARY, free_port
from tests.interop.pairs import Pairing, call, echo, every_pairing

pytestmark = [pytest.mark.anyio, every_pairing]


async def test_three_thousand_calls_at_once_on_one_channel(pairing: Pairing) -> None:
    async with pairing.connect(echo) as client:
        running = [client.start(UNARY, [b"%d" % n]) for n in range(3000)]
        outcomes = [await one.outcome() for one in running]
        assert [outcome.code for outcome in outcomes] == [0] * 3000
        assert [outcome.replies for outcome in outcomes] == [[b"%d" % n] for n in range(3000)]


async def test_over_a_unix_socket(pairing: Pairing, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/shop.sock"
    async with (
        asyncio.timeout(SAFETY_NET_S),
        pairing.make_server(echo, address=address),
        pairing.make_client(address) as client,
    ):
        assert (await call(client, UNARY, [b"x"])).replies == [b"x"]


async def test_a_server_that_is_not_there_is_unavailable(pairing: Pairing) -> None:
    with free_port() as port:
        target = f"127.0.0.1:{port}"
        async with asyncio.timeout(SAFETY_NET_S), pairing.make_client(target) as client:
            outcome = await call(client, UNARY, [b""])
            assert outcome.code == gyr.StatusCode.UNAVAILABLE
            assert target in outcome.message


async def test_a_call_that_waits_for_ready_outlasts_failed_attempts(pairing: Pairing) -> None:
    with free_port() as port:
        target = f"127.0.0.1:{port}"
        async with asyncio.timeout(SAFETY_NET_S), pairing.make_client(target) as client:
            waiting = client.start(UNARY, [b"late"], wait_for_ready=True)
            assert (await call(client, UNARY, [b""])).code == gyr.StatusCode.UNAVAILABLE
            async with pairing.make_server(echo, address=target):
                assert (await waiting.outcome()).replies == [b"late"]


async def test_a_call_that_waits_for_ready_has_its_deadline_all_the_same(pairing: Pairing) -> None:
    with free_port() as port:
        target = f"127.0.0.1:{port}"
        async with asyncio.timeout(SAFETY_NET_S), pairing.make_client(target) as client:
            outcome = await call(client, UNARY, [b""], wait_for_ready=True, timeout=0.3)
            assert outcome.code == gyr.StatusCode.DEADLINE_EXCEEDED


async def test_a_channel_connects_again_to_a_server_that_was_restarted(pairing: Pairing) -> None:
    with free_port() as port:
        target = f"127.0.0.1:{port}"
        async with asyncio.timeout(SAFETY_NET_S), pairing.make_client(target) as client:
            for number in range(3):
                async with pairing.make_server(echo, address=target):
                    outcome = await call(client, UNARY, [b"%d" % number], wait_for_ready=True)
                    while outcome.code == gyr.StatusCode.UNAVAILABLE:
                        # It went to the old connection, whose end the client had not seen.
                        outcome = await call(client, UNARY, [b"%d" % number], wait_for_ready=True)
                    assert outcome.replies == [b"%d" % number]
