"""Points, rectangles and distances."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.route_guide.geometry import Area, InvalidPoint, check_point, check_rectangle, distance
from examples.route_guide.proto.route_guide_pb2 import Point, Rectangle

POINTS = st.builds(
    Point,
    latitude=st.integers(-900_000_000, 900_000_000),
    longitude=st.integers(-1_800_000_000, 1_800_000_000),
)


def degrees(latitude: float, longitude: float) -> Point:
    return Point(latitude=round(latitude * 1e7), longitude=round(longitude * 1e7))


@pytest.mark.parametrize("latitude", [-900_000_000, 0, 900_000_000])
@pytest.mark.parametrize("longitude", [-1_800_000_000, 0, 1_800_000_000])
def test_the_ends_of_the_globe_are_on_it(latitude: int, longitude: int) -> None:
    check_point(Point(latitude=latitude, longitude=longitude))


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (Point(latitude=900_000_001), "location.latitude 900000001 is beyond ±900000000"),
        (Point(latitude=-900_000_001), "location.latitude -900000001 is beyond"),
        (Point(longitude=1_800_000_001), "location.longitude 1800000001 is beyond ±1800000000"),
        (Point(longitude=-1_800_000_001), "location.longitude -1800000001 is beyond"),
        (Point(latitude=2**31 - 1, longitude=-(2**31)), "location.latitude 2147483647"),
    ],
)
def test_a_point_beyond_the_globe_is_refused_by_field(point: Point, reason: str) -> None:
    with pytest.raises(InvalidPoint) as caught:
        check_point(point, "location")
    assert str(caught.value).startswith(reason)


def test_both_corners_of_a_rectangle_are_checked() -> None:
    check_rectangle(Rectangle())
    with pytest.raises(InvalidPoint, match=r"^lo\.latitude"):
        check_rectangle(Rectangle(lo=Point(latitude=10**9)))
    with pytest.raises(InvalidPoint, match=r"^hi\.longitude"):
        check_rectangle(Rectangle(hi=Point(longitude=-(2 * 10**9))))


@pytest.mark.parametrize(
    "corners",
    [((10, 20), (30, 40)), ((30, 40), (10, 20)), ((10, 40), (30, 20)), ((30, 20), (10, 40))],
)
def test_any_two_opposite_corners_give_the_same_area(
    corners: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    area = Area(Rectangle(lo=degrees(*corners[0]), hi=degrees(*corners[1])))
    inside = [(10, 20), (30, 40), (10, 40), (30, 20), (20, 30), (10, 30)]
    outside = [(9.9999999, 30), (30.0000001, 30), (20, 19.9999999), (20, 40.0000001), (-20, -30)]
    assert [degrees(*point) in area for point in inside] == [True] * 6
    assert [degrees(*point) in area for point in outside] == [False] * 5


def test_an_area_may_be_a_single_point() -> None:
    area = Area(Rectangle(lo=degrees(1, 1), hi=degrees(1, 1)))
    assert degrees(1, 1) in area
    assert degrees(1, 1.0000001) not in area


@pytest.mark.parametrize(
    ("start", "end", "metres"),
    [
        (degrees(0, 0), degrees(0, 0), 0.0),
        (degrees(0, 0), degrees(0, 90), math.pi / 2 * 6_371_000),
        (degrees(90, 0), degrees(-90, 0), math.pi * 6_371_000),
        (degrees(0, 179), degrees(0, -179), math.pi / 90 * 6_371_000),
        (degrees(90, 17), degrees(90, -120), 0.0),
    ],
)
def test_distances_that_are_known(start: Point, end: Point, metres: float) -> None:
    assert distance(start, end) == pytest.approx(metres, rel=1e-9, abs=1e-6)


@given(POINTS, POINTS)
def test_a_distance_is_the_same_both_ways_and_at_most_half_the_globe(
    one: Point, two: Point
) -> None:
    there, back = distance(one, two), distance(two, one)
    assert there == pytest.approx(back, rel=1e-9, abs=1e-6)
    assert 0 <= there <= math.pi * 6_371_000 * (1 + 1e-12)


@given(POINTS)
def test_opposite_points_are_half_the_globe_apart(point: Point) -> None:
    turned = -1 if point.longitude > 0 else 1
    opposite = Point(latitude=-point.latitude, longitude=point.longitude + turned * 1_800_000_000)
    # To a metre: near there the haversine has no more digits.
    assert distance(point, opposite) == pytest.approx(math.pi * 6_371_000, abs=1)
