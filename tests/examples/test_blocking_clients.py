"""The blocking clients of the examples: they see what the asynchronous ones see."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gyrfalcon as gyr
from examples.greeter import blocking_client as greeting
from examples.greeter.proto.helloworld_gyr import GreeterBlockingStub, GreeterService
from examples.greeter.proto.helloworld_pb2 import HelloReply, HelloRequest
from examples.greeter.server import Greeter
from examples.route_guide import blocking_client as guide
from examples.route_guide import client
from examples.route_guide.places import PLACES, load_map
from examples.route_guide.proto.route_guide_gyr import RouteGuideBlockingStub
from examples.route_guide.proto.route_guide_pb2 import Feature, RouteNote
from examples.route_guide.server import RouteGuide

ROOT = Path(__file__).parents[2]
# A program that takes this long to end has failed.
SAFETY_NET_S = 30.0

Greet = Callable[[GreeterBlockingStub, str], str]


@contextmanager
def listening(service: gyr.Service) -> Iterator[str]:
    with gyr.blocking.Server([service]) as server:
        yield f"127.0.0.1:{server.listen('127.0.0.1:0')}"


@contextmanager
def connected(service: gyr.Service) -> Iterator[gyr.blocking.Channel]:
    with (
        listening(service) as address,
        gyr.blocking.Channel(address, default_timeout=SAFETY_NET_S) as channel,
    ):
        yield channel


class Choosy(GreeterService):
    """Does not know everybody."""

    async def say_hello(self, request: HelloRequest, ctx: gyr.ServerContext) -> HelloReply:
        if request.name == "nobody":
            raise gyr.NotFound("nobody is there")
        return HelloReply(message=f"Hello {request.name}")


@pytest.mark.parametrize("greet", [greeting.greet, greeting.greet_later])
def test_everybody_is_greeted_by_name(greet: Greet) -> None:
    with connected(Greeter()) as channel:
        greeter = GreeterBlockingStub(channel)
        for name in ("world", "", "Grüezi 🏔"):
            assert greet(greeter, name) == f"Hello {name}"


@pytest.mark.parametrize("greet", [greeting.greet, greeting.greet_later])
def test_the_error_of_a_call_reaches_whoever_waits(greet: Greet) -> None:
    with connected(Choosy()) as channel, pytest.raises(gyr.NotFound, match="nobody is there"):
        greet(GreeterBlockingStub(channel), "nobody")


def test_a_hundred_calls_of_one_thread_are_taken_by_another() -> None:
    names = [*map(str, range(100)), "nobody"]
    with connected(Choosy()) as channel:
        greetings = greeting.greet_all(GreeterBlockingStub(channel), names)
    expected = {name: f"Hello {name}" for name in names}
    assert greetings == {**expected, "nobody": "nothing"}


def test_starting_a_call_on_a_closed_channel_leaves_no_thread_waiting() -> None:
    with connected(Greeter()) as channel:
        greeter = GreeterBlockingStub(channel)
        greeting.greet(greeter, "world")
    with pytest.raises(RuntimeError, match="closed"):
        greeting.greet_all(greeter, ["world"])


def test_the_map_is_asked_everything() -> None:
    with connected(RouteGuide(load_map(PLACES))) as channel:
        stub = RouteGuideBlockingStub(channel)
        found = guide.get_feature(stub, client.MATTERHORN)
        assert found == Feature(name="Matterhorn", location=client.MATTERHORN)
        names = [feature.name for feature in guide.list_features(stub, client.ALPS)]
        assert names[:3] == ["Mont Blanc", "Matterhorn", "Eiger"]
        summary = guide.record_route(stub, (point for point in client.GRAND_TOUR))
        assert (summary.point_count, summary.feature_count) == (5, 4)
        heard = guide.route_chat(stub, (note for note in client.NOTES))
        assert heard == [client.NOTES[0], client.NOTES[0], client.NOTES[2]]


def test_notes_are_heard_between_two_that_are_sent() -> None:
    """Reading and writing one stream by hand, from one thread."""
    note = RouteNote(location=client.MATTERHORN, message="Clouds")
    with (
        connected(RouteGuide(load_map(PLACES))) as channel,
        RouteGuideBlockingStub(channel).route_chat() as chat,
    ):
        chat.send(note)
        chat.send(note)
        assert chat.receive() == note
        chat.send(note)
        assert [chat.receive(), chat.receive()] == [note, note]
        chat.done_sending()
        assert chat.receive() is None


def run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=SAFETY_NET_S,
    )


def test_the_greeter_program_tells_what_it_got() -> None:
    with listening(Greeter()) as address:
        ran = run("examples.greeter.blocking_client", address, "--name", "Ada")
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout.splitlines() == [
        "waited for: Hello Ada",
        "by callback: Hello Ada",
        "from the completion queue: 100 of 100 greetings",
    ]


def test_both_route_guide_programs_print_the_same() -> None:
    printed = []
    for kind in ("client", "blocking_client"):
        with listening(RouteGuide(load_map(PLACES), clock=lambda: 0.0)) as address:
            ran = run(f"examples.route_guide.{kind}", address)
        assert (ran.stderr, ran.returncode) == ("", 0)
        printed.append(ran.stdout)
    assert printed[1] == printed[0]


@pytest.mark.parametrize(
    "module",
    [
        "examples.greeter.blocking_client",
        "examples.route_guide.blocking_client",
        "retail.blocking_client",
    ],
)
def test_a_server_that_is_not_there_is_said_in_one_line(module: str, tmp_path: Path) -> None:
    ran = run(module, f"unix:{tmp_path}/nothing")
    assert (ran.stdout, ran.returncode) == ("", 1)
    assert ran.stderr.count("\n") == 1
    assert "nothing" in ran.stderr
