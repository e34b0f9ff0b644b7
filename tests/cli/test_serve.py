"""`gyr serve`: what can be served, and what it says to what cannot."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gyrfalcon as gyr
from gyrfalcon.cli.application import Application
from gyrfalcon.cli.failures import WrongUse
from gyrfalcon.cli.serve import SERVER_OPTIONS
from tests.call.service import SAFETY_NET_S, UNARY, message
from tests.cli.running import Ran, run, start

APP = """
import gyrfalcon as gyr
from tests.call.service import Calls

async def unary(request, ctx):
    return request

class Echo(Calls):
    def __init__(self):
        super().__init__(unary=unary)

service = Echo()
services = (one for one in [Echo()])
server = gyr.Server([Echo()])
nothing = []
text = "hello"

class holder:
    make = Echo

def make_server():
    return gyr.Server([Echo()])

def make_services(number=1):
    return [Echo() for _ in range(number)]

def needy(url, *, size):
    pass

async def make_later():
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop_app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "broken_app.py").write_text("import no_such_thing\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def path_restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    sys.modules.pop("shop_app", None)


@pytest.mark.parametrize(
    "name",
    ["service", "services", "server", "Echo", "holder.make", "make_server", "make_services"],
)
def test_it_serves_until_it_is_told_to_stop(folder: Path, name: str) -> None:
    target = f"unix:{folder}/s"

    async def call() -> bytes:
        async with asyncio.timeout(SAFETY_NET_S), gyr.Channel(target) as channel:
            stub = gyr.UnaryUnary(channel, UNARY)
            reply = await stub(message(b"hello"), wait_for_ready=True)
        return bytes(reply.value)

    arguments = ("serve", f"shop_app:{name}", "--app-dir", folder, "-b", target)
    with start(*arguments, "-b", "127.0.0.1:0") as process:
        try:
            assert asyncio.run(call()) == b"hello"
            process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate()
        finally:
            process.kill()
    logged = [line.partition(" INFO gyrfalcon.server: ")[2] for line in stderr.splitlines()]
    assert (process.returncode, stdout, logged[0]) == (0, "", f"listening on {target}")
    assert logged[1].startswith("listening on 127.0.0.1:")
    assert logged[2:] == [
        "Ctrl-C or SIGTERM lets running calls end; a second one ends them",
        "stopping: running calls have 30 seconds",
    ]


WHAT = (
    "it should be a gyrfalcon.Server, a service, a list of services, "
    "or a function that returns one of those"
)
WRONG = {
    "shop_app": "'shop_app' is no MODULE:NAME: write it as in shop.app:make_server",
    "shop_app:servce": (
        "module 'shop_app' has no 'servce'\nHint: did you mean service or services or server?"
    ),
    "no_app:service": "there is no module 'no_app'\nHint: say where it is with --app-dir; now it",
    "shop_app:text": f"shop_app:text gives 'hello', and {WHAT}",
    "shop_app:nothing": f"shop_app:nothing gives [], and {WHAT}",
    "shop_app:needy": (
        "shop_app:needy needs arguments: url, size\n"
        "Hint: name a function that can be called without any"
    ),
    "shop_app:make_later": (
        "shop_app:make_later is an async function, and there is no loop yet when it is called"
    ),
}


@pytest.mark.parametrize("application", WRONG)
def test_what_cannot_be_served(folder: Path, application: str) -> None:
    ran = run("serve", application, "--app-dir", folder)
    assert (ran.status, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"Error: {WRONG[application]}")


def test_an_error_of_the_module_itself_is_its_own(folder: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        run("serve", "broken_app:app", "--app-dir", folder)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (
            "localhost",
            "address 'localhost' has no port: write 'localhost:50051', or port 0 for any free one",
        ),
        ("unix:/no/such/s", "cannot listen on unix:/no/such/s: No such file or directory"),
    ],
)
def test_an_address_that_cannot_be_had(folder: Path, address: str, reason: str) -> None:
    ran = run("serve", "shop_app:make_server", "--app-dir", folder, "--bind", address)
    expected = f"Error: {reason}\nHint: choose another address with --bind\n"
    assert ran == Ran(1, "", expected)


def test_options_are_those_of_the_server() -> None:
    parameters = inspect.signature(gyr.Server).parameters
    for name, attributes in SERVER_OPTIONS.items():
        default = parameters[name].default
        if default is not None and default is not False:
            shown = attributes["help"].rpartition("Default: ")[2]
            assert (name, float(shown.removesuffix("."))) == (name, default)


def test_options_reach_the_server(folder: Path) -> None:
    found = Application("shop_app:service", str(folder), "info", {"max_send_bytes": -1})
    with pytest.raises(WrongUse, match="max_send_bytes"):
        found.make_server()
    found = Application("shop_app:service", str(folder), "info", {"grace": 1.5})
    assert found.make_server().grace == 1.5


def test_a_server_has_its_options_already(folder: Path) -> None:
    ran = run("serve", "shop_app:server", "--app-dir", folder, "--grace", "5", "--access-log")
    assert ran == Ran(
        2,
        "",
        "Error: shop_app:server gives a gyrfalcon.Server, which has its options already: "
        "--grace, --access-log\n"
        "Hint: set them there, or name something that gives services\n",
    )


def test_reloading_says_what_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    ran = run("serve", "shop_app:server", "--app-dir", folder, "--reload")
    assert ran == Ran(
        1,
        "",
        "Error: --reload needs watchfiles, which is not installed\n"
        "Hint: pip install 'gyrfalcon[reload]'\n",
    )
