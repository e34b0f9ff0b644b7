"""The map: the file that comes with the example, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.route_guide.geometry import Area
from examples.route_guide.places import PLACES, Map, MapError, load_map
from examples.route_guide.proto.route_guide_pb2 import Feature, Point, Rectangle

GLOBE = Area(
    Rectangle(
        lo=Point(latitude=-900_000_000, longitude=-1_800_000_000),
        hi=Point(latitude=900_000_000, longitude=1_800_000_000),
    )
)


def place(name: str = "Here", latitude: int = 1, longitude: int = 2) -> Feature:
    return Feature(name=name, location=Point(latitude=latitude, longitude=longitude))


def entry(**location: object) -> dict[str, Any]:
    return {"location": {"latitude": 1, "longitude": 2} | location, "name": ""}


def without(*path: str) -> dict[str, Any]:
    whole: dict[str, Any] = entry()
    of = whole
    for key in path[:-1]:
        of = of[key]
    del of[path[-1]]
    return whole


def test_the_map_has_many_places_some_without_a_name() -> None:
    places = list(load_map(PLACES))
    assert len(places) >= 100
    assert sum(not feature.name for feature in places) >= 30
    named = [feature.name for feature in places if feature.name]
    assert len(set(named)) == len(named) >= 70


def test_no_two_places_of_the_map_are_at_one_point() -> None:
    places = list(load_map(PLACES))
    points = {(feature.location.latitude, feature.location.longitude) for feature in places}
    assert len(points) == len(places)


def test_places_are_where_they_are() -> None:
    """One in each hemisphere, so that neither sign nor order can be wrong."""
    at = {feature.name: feature.location for feature in load_map(PLACES)}
    assert at["Eiffel Tower, Paris"] == Point(latitude=488_584_000, longitude=22_945_000)
    assert at["Aconcagua"] == Point(latitude=-326_532_000, longitude=-700_109_000)
    assert at["Space Needle, Seattle"] == Point(latitude=476_205_000, longitude=-1_223_493_000)
    assert at["Sydney Opera House"] == Point(latitude=-338_568_000, longitude=1_512_153_000)


def test_any_file_of_the_format_is_read_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(
        '[{"location": {"latitude": -5, "longitude": 1800000000}, "name": "Übergang"},'
        ' {"name": "", "location": {"longitude": 7, "latitude": 900000000}, "seen": true}]',
        encoding="utf-8",
    )
    assert list(load_map(path)) == [
        place("Übergang", -5, 1_800_000_000),
        place("", 900_000_000, 7),
    ]


def test_an_empty_map_is_a_map(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text("[]")
    assert len(load_map(path)) == 0


def test_a_place_is_found_at_exactly_its_point() -> None:
    places = Map([place("One", 1, 2), place("", 3, 4)])
    assert places.at(Point(latitude=1, longitude=2)) == place("One", 1, 2)
    assert places.at(Point(latitude=3, longitude=4)) == place("", 3, 4)
    assert places.at(Point(latitude=2, longitude=1)) is None


def test_of_several_places_at_a_point_the_first_is_found_and_all_are_listed() -> None:
    places = Map([place("One"), place("Two")])
    assert places.at(Point(latitude=1, longitude=2)) == place("One")
    assert list(places.inside(GLOBE)) == [place("One"), place("Two")]


def test_places_inside_come_in_the_order_of_the_file_unnamed_ones_too() -> None:
    places = Map([place("c", 5, 5), place("", 9, 9), place("a", 1, 1), place("", 2, 2)])
    area = Area(Rectangle(lo=Point(latitude=5, longitude=5), hi=Point(latitude=1, longitude=1)))
    assert list(places.inside(area)) == [place("c", 5, 5), place("a", 1, 1), place("", 2, 2)]


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (entry(latitude=900_000_001), "location.latitude 900000001 is beyond ±900000000"),
        (entry(longitude=-(10**400)), "location.longitude -10000"),
        (entry(latitude=1.5), "location.latitude is 1.5, not a whole number"),
        (entry(latitude="48"), 'location.latitude is "48", not a whole number'),
        (entry(longitude=True), "location.longitude is true, not a whole number"),
        (entry(longitude=None), "location.longitude is null, not a whole number"),
        (without("location", "latitude"), "location.latitude is missing"),
        (without("location", "longitude"), "location.longitude is missing"),
        (without("location"), "location is missing"),
        (without("name"), "name is missing"),
        (entry() | {"name": 7}, "name is 7, not a string"),
        (entry() | {"name": "\ud800"}, 'name "\\ud800" has half of a surrogate pair'),
        (entry() | {"location": [1, 2]}, "location is [1, 2], not an object"),
        ("Paris", 'the entry is "Paris", not an object'),
    ],
)
def test_what_is_wrong_is_named_with_file_entry_field_and_value(
    tmp_path: Path, second: object, reason: str
) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps([entry(), second]))
    with pytest.raises(MapError) as caught:
        load_map(path)
    assert str(caught.value).startswith(f"{path}: entry 2: {reason}")
    assert len(str(caught.value)) < len(str(path)) + 600


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", " is not JSON in UTF-8: Expecting value: line 1 column 1"),
        (b'[{"name": "x"},\n oops]', " is not JSON in UTF-8: Expecting value: line 2 column 2"),
        (b'["Z\xfcrich"]', " is not JSON in UTF-8: 'utf-8' codec can't decode"),
        (b"[" * 100_000, " is not JSON in UTF-8: "),
        (b"[1" + b"0" * 5000 + b"]", " is not JSON in UTF-8: Exceeds the limit"),
        (b"{}", ": a map is a list of places, not {}"),
        (b"null", ": a map is a list of places, not null"),
    ],
)
def test_a_file_that_is_no_map_is_refused_by_name(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(content)
    with pytest.raises(MapError) as caught:
        load_map(path)
    assert str(caught.value).startswith(f"{path}{reason}")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"no\.json: No such file or directory"):
        load_map(tmp_path / "no.json")
    with pytest.raises(MapError, match="Is a directory"):
        load_map(tmp_path)
