"""Checks of options, so that a wrong one is named where it is given."""

from __future__ import annotations

import math

MAX_WINDOW = 2**31 - 1
"""The largest flow-control window, in bytes (RFC 9113 6.9.1)."""


def check_int(name: str, value: int, least: int, most: int | None = None) -> int:
    """`value`, or ValueError that names the option when it is out of range;
    TypeError for no int."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it must be an int")
    if value < least or (most is not None and value > most):
        bound = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={value!r} is out of range: it must be {bound}")
    return value


def check_seconds(name: str, value: float, *, zero: bool = True) -> float:
    """`value`, or ValueError that names the option
    when it is negative, NaN or, unless `zero`, 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; it is a number of seconds")
    if math.isnan(value) or value < 0 or (value == 0 and not zero):
        bound = "0 or more" if zero else "more than 0"
        raise ValueError(f"{name}={value!r} is out of range: it must be {bound} seconds")
    return float(value)


def check_period(name: str, value: float | None) -> float:
    """A number of seconds more than 0, or 0 for None and infinity, which switch it off; or
    ValueError that names the option."""
    if value is None:
        return 0.0
    seconds = check_seconds(name, value, zero=False)
    return 0.0 if math.isinf(seconds) else seconds


def check_header_text(name: str, value: str) -> bytes:
    """`value` as header bytes, or ValueError when it is not printable ASCII."""
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{name}={value!r} cannot be sent: it must be printable ASCII")
    return value.encode("ascii")


def check_connection_options(
    *,
    max_receive_bytes: int,
    max_metadata_bytes: int,
    stream_window: int,
    connection_window: int,
    max_unread_bytes: int,
) -> dict[str, int]:
    """The options of connections that clients and servers share, by the core's names for them."""
    return {
        "max_receive_bytes": check_int("max_receive_bytes", max_receive_bytes, 0, 2**32 - 1),
        "max_header_bytes": check_int("max_metadata_bytes", max_metadata_bytes, 1024, 2**30),
        "stream_window": check_int("stream_window", stream_window, 65535, MAX_WINDOW),
        "connection_window": check_int("connection_window", connection_window, 65535, MAX_WINDOW),
        "max_unread_bytes": check_int("max_unread_bytes", max_unread_bytes, 65535),
    }
