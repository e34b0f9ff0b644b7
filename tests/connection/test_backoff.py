"""Row "backoff": 1 s × 1.6, jitter ±0.2, at most 120 s, connect timeout 20 s, reset when the peer's
SETTINGS arrive."""

from __future__ import annotations

import pytest

import gyrfalcon as gyr
from tests.call.service import message
from tests.connection.peer import ADDRESS, client

pytestmark = pytest.mark.anyio


async def test_pauses_grow_and_settings_reset_them() -> None:
    async with client() as calling:
        network, clock = calling.network, calling.clock
        network.faults(ADDRESS).refuse_connections()

        async def next_pause() -> float:
            with pytest.raises(gyr.Unavailable):
                await calling.stub.unary(message())
            await calling.advance(0)
            assert clock.next_timer is not None
            pause = clock.next_timer - clock.time()
            await calling.advance(pause)
            return pause

        wanted, pauses = 1.0, []
        for _ in range(14):
            pauses.append(await next_pause() / wanted)
            wanted = min(wanted * 1.6, 120)
        assert pauses[0] == pytest.approx(1.0)
        assert [0.8 <= pause <= 1.2 for pause in pauses] == [True] * 14
        assert len({round(pause, 6) for pause in pauses}) > 5
        network.faults(ADDRESS).clear()
        await calling.advance(150)
        call = calling.stub.unary(message(), wait_for_ready=True)
        peer = await calling.accept()
        peer.respond(1)
        await call
        network.faults(ADDRESS).refuse_connections()
        peer.transport.abort()
        await calling.advance(0)
        assert await next_pause() == pytest.approx(1.0)


async def test_a_connection_without_settings_resets_nothing() -> None:
    async with client(connect_timeout=3) as calling:
        pauses = []
        for _ in range(3):
            call = calling.stub.unary(message())
            await calling.peers.get()
            began = calling.clock.time()
            await calling.advance(3)
            with pytest.raises(gyr.Unavailable, match="took longer than 3 seconds"):
                await call
            while calling.peers.empty():
                call = calling.stub.unary(message(), wait_for_ready=True)
                await calling.advance(0.1)
                call.cancel()
            pauses.append(calling.clock.time() - began)
        # Never sooner than the attempt takes, then 1.6² s and more.
        assert [3 <= pause <= 3.2 for pause in pauses] == [True] * 3
