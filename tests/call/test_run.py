"""`Server.run`: a program of its own, ended by signals."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import gyrfalcon as gyr
from tests.call.service import SAFETY_NET_S, Calls, Stub, message

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio, gc, logging, sys
import gyrfalcon as gyr
from tests.call.service import Calls, message

async def wait(request, ctx):
    if request.value == b"frozen?":
        return message(b"%d" % gc.get_freeze_count())
    await ctx.send_initial_metadata()
    await asyncio.Event().wait()

async def drain(requests, ctx):
    await ctx.send_initial_metadata()
    async for request in requests:
        last = request
    return last

logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
gyr.Server([Calls(unary=wait, client_stream=drain)], grace=float(sys.argv[2])).run(sys.argv[1])
print("returned")
"""


@asynccontextmanager
async def program(
    folder: Path, *, grace: float
) -> AsyncIterator[tuple[asyncio.subprocess.Process, gyr.Channel]]:
    """The program above, and a channel to it that is ready."""
    target = f"unix:{folder}/run.sock"
    async with asyncio.timeout(SAFETY_NET_S):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, target, str(grace),
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with gyr.Channel(target) as channel:
                await channel.wait_ready()
                yield process, channel
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_what_was_imported_is_not_collected_while_calls_wait(tmp_path: Path) -> None:
    async with program(tmp_path, grace=20.0) as (_, channel):
        frozen = (await Stub(channel).unary(message(b"frozen?"))).value
        assert int(frozen) > len(sys.modules)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_and_run_returns(tmp_path: Path, number: int) -> None:
    async with program(tmp_path, grace=20.0) as (process, channel):
        call = Stub(channel).client_stream()
        await call.initial_metadata()
        process.send_signal(number)
        await call.send(message(b"last"))
        await call.done_sending()
        assert (await call).value == b"last"
        output, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert output.endswith(b"returned\n")
        assert not (tmp_path / "run.sock").exists()


async def test_what_runs_after_the_grace_is_cancelled(tmp_path: Path) -> None:
    async with program(tmp_path, grace=0.1) as (process, channel):
        call = Stub(channel).unary(message())
        await call.initial_metadata()
        process.send_signal(signal.SIGTERM)
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        assert await process.wait() == 0


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    async with program(tmp_path, grace=1000.0) as (process, channel):
        call = Stub(channel).unary(message())
        await call.initial_metadata()
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        while not (await process.stdout.readline()).startswith(b"stopping:"):
            pass
        process.send_signal(signal.SIGTERM)
        assert (await call.status()).code == gyr.StatusCode.CANCELLED
        assert await process.wait() == 0


def test_run_needs_an_address() -> None:
    with pytest.raises(ValueError, match="address"):
        gyr.Server([Calls()]).run()


def test_run_names_an_address_that_it_cannot_have() -> None:
    with pytest.raises(OSError, match=r"cannot listen on unix:/no/such/folder/shop\.sock"):
        gyr.Server([Calls()]).run("unix:/no/such/folder/shop.sock")
