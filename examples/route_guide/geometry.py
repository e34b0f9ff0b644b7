"""Points on the globe in E7 (degrees times 10,000,000)."""

from __future__ import annotations

import math
from typing import Final

from .proto.route_guide_pb2 import Point, Rectangle

MAX_LATITUDE: Final = 900_000_000
MAX_LONGITUDE: Final = 1_800_000_000

EARTH_RADIUS: Final = 6_371_000
"""Metres: the mean radius."""


class InvalidPoint(ValueError):
    """A point that is not on the globe; the text names the field and its value."""


def check_latitude(latitude: int, field: str) -> None:
    if not -MAX_LATITUDE <= latitude <= MAX_LATITUDE:
        raise InvalidPoint(f"{field} {latitude} is beyond ±{MAX_LATITUDE} (±90° in E7)")


def check_longitude(longitude: int, field: str) -> None:
    if not -MAX_LONGITUDE <= longitude <= MAX_LONGITUDE:
        raise InvalidPoint(f"{field} {longitude} is beyond ±{MAX_LONGITUDE} (±180° in E7)")


def check_point(point: Point, field: str = "") -> None:
    """Raises InvalidPoint. `field` leads to the point in its message, as `location` does."""
    prefix = f"{field}." if field else ""
    check_latitude(point.latitude, f"{prefix}latitude")
    check_longitude(point.longitude, f"{prefix}longitude")


def check_rectangle(rectangle: Rectangle) -> None:
    """Raises InvalidPoint."""
    check_point(rectangle.lo, "lo")
    check_point(rectangle.hi, "hi")


class Area:
    """The points inside a rectangle and on its border, whichever two corners it is given by."""

    def __init__(self, rectangle: Rectangle) -> None:
        one, other = rectangle.lo, rectangle.hi
        self.south, self.north = sorted((one.latitude, other.latitude))
        self.west, self.east = sorted((one.longitude, other.longitude))

    def __contains__(self, point: Point) -> bool:
        return (
            self.south <= point.latitude <= self.north and self.west <= point.longitude <= self.east
        )


def distance(start: Point, end: Point) -> float:
    """Metres along the great circle, by the haversine formula."""
    south, north = _radians(start.latitude), _radians(end.latitude)
    half_height = math.sin((north - south) / 2)
    half_width = math.sin((_radians(end.longitude) - _radians(start.longitude)) / 2)
    square = half_height**2 + math.cos(south) * math.cos(north) * half_width**2
    # Rounding may take the square of opposite points past 1, where there is no root of 1 - square.
    square = min(1.0, square)
    return EARTH_RADIUS * 2 * math.atan2(math.sqrt(square), math.sqrt(1 - square))


def _radians(e7: int) -> float:
    return math.radians(e7 / 1e7)
