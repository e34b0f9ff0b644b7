"""What of an error fits into the trailers of its call: the text and the details share the room."""

from __future__ import annotations

import logging
from typing import Final

from .._core.coding import decode_text, encode_text
from ..rpc.quoting import quote
from ..rpc.rich_status import fit_details
from ..rpc.status import code_name

log = logging.getLogger("gyrfalcon.server")

# Where both cannot be sent whole: programs read the details, people the text.
_TEXT_BESIDE_DETAILS: Final = 1024
# Of the field names grpc-message and grpc-status-details-bin, and 32 for each (RFC 9113 6.5.2).
_FIELDS: Final = 12 + 23 + 2 * 32
# grpcio says that it takes 16 KiB and refuses some lists over half of that.
_SAFE: Final = 8 * 1024
# libnghttp2 silently sends no header list over 64 KiB.
_SENDABLE: Final = 48 * 1024


def fit_status(
    path: bytes, code: int, text: bytes, details: bytes, peer_limit: int, spent: int
) -> tuple[bytes, bytes]:
    """`grpc-message` and google.rpc.Status that fit together into what the peer takes.

    `spent` is what the list has of its limit without them. What is too much is cut: the text, then
    the last of the details. The Status says what `grpc-message` does: receivers compare them.
    """
    room = min(peer_limit, max(_SAFE, peer_limit // 2), _SENDABLE) - spent - _FIELDS
    fitting, dropped = _fit(code, text, details, room)
    if dropped and len(text) > _TEXT_BESIDE_DETAILS:
        text = encode_text(decode_text(text), _TEXT_BESIDE_DETAILS)
        fitting, dropped = _fit(code, text, details, room)
    if dropped:
        # A client that takes next to nothing is not to fill the log.
        log.log(
            logging.WARNING if peer_limit >= _SAFE else logging.INFO,
            "%s: %d details of its %s were left out: with them it has %d bytes, which the client"
            " may not take",
            quote(path.decode("latin-1")),
            dropped,
            code_name(code),
            len(details),
        )
    return text, fitting


def _fit(code: int, text: bytes, details: bytes, room: int) -> tuple[bytes, int]:
    # Base64 makes four bytes of three.
    return fit_details(details, code, decode_text(text), max(room - len(text), 0) * 3 // 4)
