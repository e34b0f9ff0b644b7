"""Asks the RouteGuide server everything: `python -m examples.route_guide.client`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

import gyrfalcon as gyr

from .proto.route_guide_gyr import RouteGuideStub
from .proto.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary


def degrees(latitude: float, longitude: float) -> Point:
    return Point(latitude=round(latitude * 1e7), longitude=round(longitude * 1e7))


MATTERHORN: Final = degrees(45.9763, 7.6586)
NOWHERE: Final = degrees(0.0, -30.0)
ALPS: Final = Rectangle(lo=degrees(45.8, 6.8), hi=degrees(47.5, 12.8))
GRAND_TOUR: Final = (
    degrees(51.5308, -0.1238),  # London King's Cross station
    degrees(48.8809, 2.3553),  # Paris Gare du Nord
    degrees(47.3782, 8.5402),  # Zürich Hauptbahnhof
    degrees(46.5283, 8.6053),  # out of the Gotthard tunnel: no name
    degrees(45.4860, 9.2045),  # Milano Centrale
)
NOTES: Final = (
    RouteNote(location=MATTERHORN, message="Clouds at noon"),
    RouteNote(location=NOWHERE, message="Nothing but water"),
    RouteNote(location=MATTERHORN, message="Clear again"),
    RouteNote(location=MATTERHORN, message="We stay another day"),
)


async def get_feature(guide: RouteGuideStub, point: Point) -> Feature:
    """Unary."""
    return await guide.get_feature(point)


async def list_features(guide: RouteGuideStub, rectangle: Rectangle) -> list[Feature]:
    """Server streaming."""
    return [feature async for feature in guide.list_features(rectangle)]


async def record_route(guide: RouteGuideStub, points: Sequence[Point]) -> RouteSummary:
    """Client streaming."""
    return await guide.record_route(points)


async def route_chat(guide: RouteGuideStub, notes: Sequence[RouteNote]) -> list[RouteNote]:
    """Bidirectional; what is heard depends on who wrote before."""
    return [note async for note in guide.route_chat(notes)]


async def run(target: str) -> None:
    async with gyr.Channel(target, default_timeout=30.0) as channel:
        guide = RouteGuideStub(channel)
        for point in (MATTERHORN, NOWHERE):
            print("GetFeature:", describe(await get_feature(guide, point)))
        for feature in await list_features(guide, ALPS):
            print("ListFeatures:", describe(feature))
        print("RecordRoute:", describe_summary(await record_route(guide, GRAND_TOUR)))
        for note in await route_chat(guide, NOTES):
            print("RouteChat:", describe_note(note))


def describe(feature: Feature) -> str:
    return f"{feature.name or 'no name'} at {show(feature.location)}"


def describe_summary(summary: RouteSummary) -> str:
    return (
        f"{summary.point_count} points, {summary.feature_count} with a name, "
        f"{summary.distance} m in {summary.elapsed_time} s"
    )


def describe_note(note: RouteNote) -> str:
    return f"{note.message!r} at {show(note.location)}"


def show(point: Point) -> str:
    return f"{point.latitude / 1e7:.4f}°, {point.longitude / 1e7:.4f}°"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.route_guide.client", description=__doc__
    )
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    try:
        asyncio.run(run(parser.parse_args().target))
    except gyr.RpcError as error:
        sys.exit(f"route_guide.client: {error}")


if __name__ == "__main__":
    main()
