"""Asks RouteGuide everything, from a thread: `python -m examples.route_guide.blocking_client`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

import gyrfalcon as gyr

from .client import (
    ALPS,
    GRAND_TOUR,
    MATTERHORN,
    NOTES,
    NOWHERE,
    describe,
    describe_note,
    describe_summary,
)
from .proto.route_guide_gyr import RouteGuideBlockingStub
from .proto.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary


def get_feature(guide: RouteGuideBlockingStub, point: Point) -> Feature:
    """Unary."""
    return guide.get_feature(point)


def list_features(guide: RouteGuideBlockingStub, rectangle: Rectangle) -> list[Feature]:
    """Server streaming."""
    return list(guide.list_features(rectangle))


def record_route(guide: RouteGuideBlockingStub, points: Iterable[Point]) -> RouteSummary:
    """Client streaming."""
    return guide.record_route(points)


def route_chat(guide: RouteGuideBlockingStub, notes: Iterable[RouteNote]) -> list[RouteNote]:
    """Bidirectional; what is heard depends on who wrote before."""
    return list(guide.route_chat(notes))


def run(target: str) -> None:
    with gyr.blocking.Channel(target, default_timeout=30.0) as channel:
        guide = RouteGuideBlockingStub(channel)
        for point in (MATTERHORN, NOWHERE):
            print("GetFeature:", describe(get_feature(guide, point)))
        for feature in list_features(guide, ALPS):
            print("ListFeatures:", describe(feature))
        print("RecordRoute:", describe_summary(record_route(guide, GRAND_TOUR)))
        for note in route_chat(guide, NOTES):
            print("RouteChat:", describe_note(note))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.route_guide.blocking_client", description=__doc__
    )
    parser.add_argument("target", nargs="?", default="127.0.0.1:50051", help="default: %(default)s")
    try:
        run(parser.parse_args().target)
    except gyr.RpcError as error:
        sys.exit(f"route_guide.blocking_client: {error}")


if __name__ == "__main__":
    main()
