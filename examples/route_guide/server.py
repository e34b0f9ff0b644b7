"""The RouteGuide server: `python -m examples.route_guide.server --db places.json`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gyrfalcon as gyr
from examples.serving import serve

from .geometry import Area, InvalidPoint, check_point, check_rectangle
from .journey import Journey, RouteTooLong
from .notes import NoteBoard
from .places import PLACES, Map, MapError, load_map
from .proto.route_guide_gyr import RouteGuideService
from .proto.route_guide_pb2 import Feature, Point, Rectangle, RouteNote, RouteSummary


class RouteGuide(RouteGuideService):
    """Serves the places of a map. `clock` gives seconds and never goes back."""

    def __init__(self, places: Map, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._notes = NoteBoard()

    async def get_feature(self, request: Point, ctx: gyr.ServerContext) -> Feature:
        with _as_status():
            check_point(request)
        return self._places.at(request) or Feature(location=request)

    async def list_features(
        self, request: Rectangle, ctx: gyr.ServerContext
    ) -> AsyncIterator[Feature]:
        with _as_status():
            check_rectangle(request)
        for feature in self._places.inside(Area(request)):
            yield feature

    async def record_route(
        self, requests: AsyncIterator[Point], ctx: gyr.ServerContext
    ) -> RouteSummary:
        began = self._clock()
        journey = Journey(self._places)
        with _as_status():
            async for point in requests:
                check_point(point)
                journey.add(point)
        return journey.summary(self._clock() - began)

    async def route_chat(
        self, requests: AsyncIterator[RouteNote], ctx: gyr.ServerContext
    ) -> AsyncIterator[RouteNote]:
        async for note in requests:
            with _as_status():
                check_point(note.location, "location")
            for earlier in self._notes.pin(note):
                yield earlier


@contextmanager
def _as_status() -> Iterator[None]:
    try:
        yield
    except InvalidPoint as error:
        raise gyr.InvalidArgument(str(error)) from error
    except RouteTooLong as error:
        raise gyr.OutOfRange(str(error)) from error


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m examples.route_guide.server", description=__doc__
    )
    parser.add_argument(
        "--db", type=Path, default=PLACES, metavar="FILE", help="a map; default: the example's own"
    )
    parser.add_argument(
        "--listen", default="127.0.0.1:50051", metavar="ADDRESS", help="default: %(default)s"
    )
    options = parser.parse_args()
    try:
        places = load_map(options.db)
    except MapError as error:
        sys.exit(f"route_guide.server: {error}")
    asyncio.run(serve(RouteGuide(places), options.listen))


if __name__ == "__main__":
    main()
