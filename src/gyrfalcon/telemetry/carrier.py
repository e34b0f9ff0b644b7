"""How trace context is written to and read from the metadata of a call."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from opentelemetry.propagators.textmap import Getter, Setter

if TYPE_CHECKING:
    import gyrfalcon as gyr

log = logging.getLogger("gyrfalcon.telemetry")


class MetadataSetter(Setter["gyr.Metadata"]):
    """Writes to the metadata of a request."""

    def set(self, carrier: gyr.Metadata, key: str, value: str) -> None:
        """Replace a value: of an attempt before, or one that the caller passed on."""
        try:
            carrier[key] = value
        except ValueError as error:
            # A call is worth more than its trace.
            log.warning("a propagator's field is not sent: %s", error)


class MetadataGetter(Getter["gyr.Metadata"]):
    """Reads the metadata of a request."""

    def get(self, carrier: gyr.Metadata, key: str) -> list[str] | None:
        """The values of a key; None when there are none."""
        return [value for value in carrier.get_all(key) if isinstance(value, str)] or None

    def keys(self, carrier: gyr.Metadata) -> list[str]:
        """Every key."""
        return carrier.keys()


SETTER = MetadataSetter()
GETTER = MetadataGetter()
