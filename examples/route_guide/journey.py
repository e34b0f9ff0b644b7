"""What RecordRoute adds up. No RPC in here."""

from __future__ import annotations

from typing import Final

from .geometry import distance
from .places import Map
from .proto.route_guide_pb2 import Point, RouteSummary

MAX_DISTANCE: Final = 2**31 - 1
"""Metres: what RouteSummary.distance, an int32, can hold."""


class RouteTooLong(Exception):
    """The route is longer than MAX_DISTANCE."""


class Journey:
    """The points of one route, added up as they come."""

    def __init__(self, places: Map) -> None:
        self._places = places
        self._points = 0
        self._features = 0
        self._metres = 0.0
        self._last: Point | None = None

    def add(self, point: Point) -> None:
        """Raises RouteTooLong."""
        feature = self._places.at(point)
        self._points += 1
        self._features += bool(feature and feature.name)
        if self._last is not None:
            self._metres += distance(self._last, point)
        self._last = point
        if self._metres >= MAX_DISTANCE + 1:
            raise RouteTooLong(
                f"the route is {self._metres:.0f} m long: "
                f"RouteSummary.distance holds at most {MAX_DISTANCE}"
            )

    def summary(self, seconds: float) -> RouteSummary:
        """`seconds` is how long the call took. A route without points is all zeros."""
        if self._points == 0:
            return RouteSummary()
        return RouteSummary(
            point_count=self._points,
            feature_count=self._features,
            distance=int(self._metres),
            elapsed_time=int(seconds),
        )
