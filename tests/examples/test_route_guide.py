"""RouteGuide over the wire: the contract, rule by rule."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

import gyrfalcon as gyr
from examples.route_guide.client import list_features, record_route, route_chat
from examples.route_guide.places import Map
from examples.route_guide.proto.route_guide_gyr import RouteGuideStub
from examples.route_guide.proto.route_guide_pb2 import (
    Feature,
    Point,
    Rectangle,
    RouteNote,
    RouteSummary,
)
from examples.route_guide.server import RouteGuide
from gyrfalcon.testing import serve

pytestmark = pytest.mark.anyio

PEAK = Feature(name="Peak", location=Point(latitude=10, longitude=20))
JUNCTION = Feature(location=Point(latitude=30, longitude=40))
FAR = Feature(name="Far", location=Point(latitude=-500, longitude=-500))
OFF_THE_GLOBE = Point(longitude=1_800_000_001)


class Clock:
    """Gives 2.7 seconds more each time it is looked at."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        self.seconds += 2.7
        return self.seconds


@asynccontextmanager
async def guide() -> AsyncIterator[RouteGuideStub]:
    service = RouteGuide(Map([PEAK, JUNCTION, FAR]), clock=Clock())
    async with serve(service) as channel:
        yield RouteGuideStub(channel)


def note(message: str, latitude: int = 10) -> RouteNote:
    return RouteNote(location=Point(latitude=latitude, longitude=20), message=message)


async def test_a_feature_is_found_at_its_point_and_elsewhere_the_point_is_echoed() -> None:
    nowhere = Point(latitude=10, longitude=21)
    async with guide() as stub:
        assert await stub.get_feature(PEAK.location) == PEAK
        assert await stub.get_feature(JUNCTION.location) == JUNCTION
        assert await stub.get_feature(nowhere) == Feature(location=nowhere)
        assert (await stub.get_feature(Point())).HasField("location")


async def test_features_of_a_rectangle_come_in_the_order_of_the_map() -> None:
    area = Rectangle(lo=JUNCTION.location, hi=PEAK.location)
    globe = Rectangle(
        lo=Point(latitude=900_000_000, longitude=-1_800_000_000),
        hi=Point(latitude=-900_000_000, longitude=1_800_000_000),
    )
    async with guide() as stub:
        assert await list_features(stub, area) == [PEAK, JUNCTION]
        assert await list_features(stub, globe) == [PEAK, JUNCTION, FAR]
        assert await list_features(stub, Rectangle()) == []


async def test_a_route_is_summed_up() -> None:
    points = [PEAK.location, JUNCTION.location, Point(latitude=10_000_030, longitude=40)]
    async with guide() as stub:
        # 0.31 m, and a degree of latitude: 111194.93 m.
        assert await record_route(stub, points) == RouteSummary(
            point_count=3, feature_count=1, distance=111195, elapsed_time=2
        )
        assert await record_route(stub, []) == RouteSummary()


async def test_a_route_that_is_too_long_is_out_of_range_while_it_is_still_sent() -> None:
    poles = [Point(latitude=900_000_000), Point(latitude=-900_000_000)]
    async with guide() as stub, stub.record_route() as call:
        for number in range(108 + 1):
            await call.send(poles[number % 2])
        with pytest.raises(gyr.OutOfRange, match="at most 2147483647"):
            await call


async def test_notes_are_answered_with_the_earlier_ones_of_every_caller() -> None:
    async with guide() as stub:
        assert await route_chat(stub, [note("a"), note("b"), note("x", 99)]) == [note("a")]
        assert await route_chat(stub, [note("c"), note("y", 99)]) == [
            note("a"),
            note("b"),
            note("x", 99),
        ]


async def test_notes_are_shared_while_callers_are_connected() -> None:
    async with guide() as stub, stub.route_chat() as one, stub.route_chat() as other:
        await one.send(note("a"))
        await one.send(note("b"))
        assert await one.receive() == note("a")
        await other.send(note("c"))
        assert await other.receive() == note("a")
        assert await other.receive() == note("b")
        await one.send(note("d"))
        assert [await one.receive() for _ in range(3)] == [note("a"), note("b"), note("c")]


async def test_a_caller_that_does_not_read_keeps_no_other_waiting() -> None:
    large = RouteNote(location=Point(latitude=10, longitude=20), message="x" * 100_000)
    async with guide() as stub, stub.route_chat() as silent:
        # They fit in the stream's window of 1 MiB, their answers do not: each note is answered with
        # all before it, 3.6 MB that nobody takes.
        for _ in range(9):
            await silent.send(large)
        assert await route_chat(stub, [note("y", 99), note("z", 99)]) == [note("y", 99)]
        assert await stub.get_feature(PEAK.location) == PEAK
        silent.cancel()


async def test_points_off_the_globe_are_refused_by_field_in_every_method() -> None:
    async with guide() as stub:
        with pytest.raises(gyr.InvalidArgument, match=r"INVALID_ARGUMENT: longitude 1800000001"):
            await stub.get_feature(OFF_THE_GLOBE)
        with pytest.raises(
            gyr.InvalidArgument, match=r"INVALID_ARGUMENT: hi\.longitude 1800000001"
        ):
            await list_features(stub, Rectangle(hi=OFF_THE_GLOBE))
        with pytest.raises(gyr.InvalidArgument, match=r"INVALID_ARGUMENT: longitude 1800000001"):
            await record_route(stub, [PEAK.location, OFF_THE_GLOBE])
        with pytest.raises(
            gyr.InvalidArgument, match=r"INVALID_ARGUMENT: location\.longitude 1800000001"
        ):
            await route_chat(stub, [note("a"), RouteNote(location=OFF_THE_GLOBE)])
        with pytest.raises(gyr.InvalidArgument, match=r"INVALID_ARGUMENT: latitude -900000001"):
            await stub.get_feature(Point(latitude=-900_000_001))
