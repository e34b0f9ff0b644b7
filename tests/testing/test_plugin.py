"""The pytest plugin, in projects of its own: with anyio's plugin, pytest-asyncio, and neither."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

PLUGIN = "gyrfalcon.testing.pytest_plugin"
SERVICE = """
import asyncio
import pytest
from google.protobuf.wrappers_pb2 import BytesValue
import gyrfalcon as gyr

METHOD = gyr.Method("t.Echo", "Unary", "unary", gyr.Pattern.UNARY_UNARY, BytesValue, BytesValue)

class EchoService(gyr.Service):
    __gyr_service__ = gyr.ServiceDefinition("t.Echo", (METHOD,))

class Echo(EchoService):
    def __init__(self):
        self.started = asyncio.Event()

    async def unary(self, request, ctx):
        if request.value == b"hang":
            self.started.set()
            await asyncio.Event().wait()
        return request

X, HANG = BytesValue(value=b"x"), BytesValue(value=b"hang")
"""
ASYNCHRONOUS = """
kept = []

@pytest.mark.{mark}
async def test_a_call(gyr_serve, gyr_clock):
    echo = Echo()
    channel = await gyr_serve(echo, clock=gyr_clock)
    unary = gyr.UnaryUnary(channel, METHOD)
    assert (await unary(X)).value == b"x"
    call = unary(HANG, timeout=5)
    await echo.started.wait()
    gyr_clock.advance(5)
    with pytest.raises(gyr.DeadlineExceeded):
        await call
    kept.extend((channel, unary(HANG)))

def test_what_was_served_ended_with_its_test():
    channel, call = kept
    assert (channel.state.name, call.cancelled()) == ("SHUTDOWN", True)

class TestMethods:
    @pytest.mark.{mark}
    async def test_several(self, gyr_serve):
        for served in [gyr_serve(Echo()), gyr_serve(Echo())]:
            assert (await gyr.UnaryUnary(await served, METHOD)(X)).value == b"x"

    @pytest.mark.{mark}
    async def test_a_block(self, gyr_serve):
        async with gyr_serve(Echo()) as channel:
            assert (await gyr.UnaryUnary(channel, METHOD)(X)).value == b"x"

    @pytest.mark.{mark}
    @pytest.mark.xfail(raises=ZeroDivisionError, strict=True)
    async def test_that_fails(self, gyr_serve):
        kept.append(await gyr_serve(Echo()))
        1 / 0

    def test_ends_too(self):
        assert kept[-1].state.name == "SHUTDOWN"
"""
PLAIN = """
def test_threads(gyr_serve):
    channel = gyr_serve(Echo()).open()
    assert gyr.blocking.UnaryUnary(channel, METHOD)(X).value == b"x"
    kept.append(channel)

def test_a_block(gyr_serve):
    assert kept.pop().state.name == "SHUTDOWN"
    with gyr_serve(Echo()) as channel:
        assert gyr.blocking.UnaryUnary(channel, METHOD)(X).value == b"x"

def test_a_loop_of_ones_own(gyr_serve):
    async def call():
        async with gyr_serve(Echo()) as channel:
            return (await gyr.UnaryUnary(channel, METHOD)(X)).value
    assert asyncio.run(call()) == b"x"

kept = []
"""


def run(folder: Path, text: str, *options: str) -> str:
    (folder / "test_echo.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").touch()
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    installed = any(found.value == PLUGIN for found in entry_points(group="pytest11"))
    ran = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *([] if installed else ["-p", PLUGIN]),
            *options,
        ],
        cwd=folder,
        env={
            **{name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")},
            "PYTHONPATH": os.pathsep.join(str(Path(path).resolve()) for path in paths if path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()[-1].partition(" in ")[0]


def test_with_anyio(tmp_path: Path) -> None:
    text = SERVICE + ASYNCHRONOUS.format(mark="anyio")
    text += "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    assert run(tmp_path, text, "-p", "no:asyncio") == "5 passed, 1 xfailed"


@pytest.mark.skipif(find_spec("pytest_asyncio") is None, reason="pytest-asyncio is not installed")
def test_with_pytest_asyncio(tmp_path: Path) -> None:
    text = SERVICE + ASYNCHRONOUS.format(mark="asyncio")
    scope = "asyncio_default_fixture_loop_scope=function"
    assert run(tmp_path, text, "-p", "no:anyio", "-o", scope) == "5 passed, 1 xfailed"


def test_without_either(tmp_path: Path) -> None:
    assert run(tmp_path, SERVICE + PLAIN, "-p", "no:anyio", "-p", "no:asyncio") == "3 passed"


def test_what_does_not_use_it_loads_nothing_of_it(tmp_path: Path) -> None:
    text = (
        "import sys\n\n"
        "def test_loaded():\n"
        "    loaded = {name for name in sys.modules if name.startswith('gyrfalcon')}\n"
        "    expected = ['', '._version', '.testing', '.testing.pytest_plugin']\n"
        "    assert loaded == {f'gyrfalcon{name}' for name in expected}\n"
        "    assert 'google.protobuf' not in sys.modules\n"
    )
    assert run(tmp_path, text, "-p", "no:anyio", "-p", "no:asyncio") == "1 passed"
