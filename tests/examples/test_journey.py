"""What RecordRoute adds up."""

from __future__ import annotations

import math

import pytest

from examples.route_guide.journey import Journey, RouteTooLong
from examples.route_guide.places import Map
from examples.route_guide.proto.route_guide_pb2 import Feature, Point, RouteSummary

PEAK = Point(latitude=10_000_000, longitude=0)
JUNCTION = Point(latitude=20_000_000, longitude=0)
ELSEWHERE = Point(latitude=30_000_000, longitude=0)
PLACES = Map([Feature(name="Peak", location=PEAK), Feature(location=JUNCTION)])
DEGREE = math.radians(1) * 6_371_000


def summary(*points: Point, seconds: float = 0.0) -> RouteSummary:
    journey = Journey(PLACES)
    for point in points:
        journey.add(point)
    return journey.summary(seconds)


def test_a_route_without_points_is_all_zeros_however_long_it_took() -> None:
    assert summary(seconds=12.5) == RouteSummary()


def test_a_single_point_has_no_distance() -> None:
    assert summary(PEAK) == RouteSummary(point_count=1, feature_count=1)


def test_only_points_with_a_named_place_count_as_features() -> None:
    assert summary(PEAK, JUNCTION, ELSEWHERE, PEAK).feature_count == 2


def test_seconds_are_cut_to_whole_ones() -> None:
    assert summary(PEAK, seconds=1.999).elapsed_time == 1


def test_the_distance_is_summed_before_it_is_cut() -> None:
    points = [Point(latitude=n * 10_000_000) for n in range(11)]
    assert summary(*points).distance == int(10 * DEGREE)
    assert summary(*points).distance != 10 * int(DEGREE)


def test_a_route_goes_from_point_to_point_in_order() -> None:
    assert summary(PEAK, ELSEWHERE, JUNCTION).distance == int(3 * DEGREE)


def test_a_distance_that_does_not_fit_is_an_error_as_soon_as_it_does_not() -> None:
    journey = Journey(PLACES)
    south, north = Point(latitude=-900_000_000), Point(latitude=900_000_000)
    half = math.pi * 6_371_000
    journey.add(south)
    crossings = int((2**31 - 1) / half)
    for number in range(crossings):
        journey.add((north, south)[number % 2])
    assert journey.summary(0).distance > 2**31 - 1 - half
    with pytest.raises(RouteTooLong, match=r"holds at most 2147483647"):
        journey.add((north, south)[crossings % 2])
