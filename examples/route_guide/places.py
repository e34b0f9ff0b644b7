"""The map: a file of places, and finding them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from .geometry import Area, InvalidPoint, check_latitude, check_longitude
from .proto.route_guide_pb2 import Feature, Point

PLACES: Final = Path(__file__).with_name("places.json")
"""The map that comes with the example."""


class MapError(ValueError):
    """A file that is not a map; the text names the file and, where there is one, the entry."""


class Map:
    """The features of a file, in its order."""

    def __init__(self, features: Iterable[Feature]) -> None:
        self._features = tuple(features)
        self._by_point: dict[tuple[int, int], Feature] = {}
        for feature in self._features:
            self._by_point.setdefault(_key(feature.location), feature)

    def __len__(self) -> int:
        return len(self._features)

    def __iter__(self) -> Iterator[Feature]:
        return iter(self._features)

    def at(self, point: Point) -> Feature | None:
        """The feature at exactly this point: the first, should the file have several."""
        return self._by_point.get(_key(point))

    def inside(self, area: Area) -> Iterator[Feature]:
        return (feature for feature in self._features if feature.location in area)


def _key(point: Point) -> tuple[int, int]:
    return point.latitude, point.longitude


def load_map(path: Path) -> Map:
    """Reads a file of `[{"location": {"latitude": E7, "longitude": E7}, "name": "…"}, …]`.

    Raises MapError for a file that cannot be read, is not JSON in UTF-8, or has an entry that is
    not a place. Entries are counted from 1.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MapError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise MapError(f"{path} is not JSON in UTF-8: {error}") from error
    if not isinstance(entries, list):
        raise MapError(f"{path}: a map is a list of places, not {_show(entries)}")
    return Map(_feature(path, number, entry) for number, entry in enumerate(entries, start=1))


def _feature(path: Path, number: int, entry: object) -> Feature:
    try:
        place = _object(entry, "the entry")
        location = _object(_field(place, "location", "location"), "location")
        return Feature(
            name=_name(place),
            location=Point(
                latitude=_coordinate(location, "latitude", check_latitude),
                longitude=_coordinate(location, "longitude", check_longitude),
            ),
        )
    except (InvalidPoint, MapError) as error:
        raise MapError(f"{path}: entry {number}: {error}") from error


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MapError(f"{what} is {_show(value)}, not an object")
    return value


def _field(of: dict[str, Any], key: str, path: str) -> object:
    if key not in of:
        raise MapError(f"{path} is missing in {_show(of)}")
    return of[key]


def _name(place: dict[str, Any]) -> str:
    name = _field(place, "name", "name")
    if not isinstance(name, str):
        raise MapError(f'name is {_show(name)}, not a string ("" for a place without a name)')
    try:
        name.encode()
    except UnicodeEncodeError:
        raise MapError(f"name {_show(name)} has half of a surrogate pair") from None
    return name


def _coordinate(location: dict[str, Any], key: str, check: Callable[[int, str], None]) -> int:
    path = f"location.{key}"
    value = _field(location, key, path)
    if not isinstance(value, int) or isinstance(value, bool):
        raise MapError(f"{path} is {_show(value)}, not a whole number (degrees times 10,000,000)")
    check(value, path)
    return value


def _show(value: object) -> str:
    """The value as the file has it, cut where it would fill the screen."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
