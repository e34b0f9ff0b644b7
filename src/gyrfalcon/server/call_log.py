"""What the log says of calls: a line for each that failed, and where asked for one for each."""

from __future__ import annotations

import logging

from ..rpc.quoting import quote, quoted
from ..rpc.status import code_name

log = logging.getLogger("gyrfalcon.server")
access_log = logging.getLogger("gyrfalcon.access")


def log_call(
    peer: str, path: str, code: int, text: str | None, seconds: float, access: bool
) -> None:
    """Note the end of a call (loop thread).

    `text` is the status's; `code` is below zero for what was no gRPC call. `seconds` are from its
    head to its end. What the client wrote is escaped and cut: a call is one line, whatever it says.
    """
    failed = code != 0 and log.isEnabledFor(logging.INFO)
    if not failed and not access:
        return
    name = code_name(code) if code >= 0 else "no call"
    shown = quote(path)
    said = f" {quoted(text)}" if text else ""
    fields = {"peer": peer, "method": shown, "code": name, "seconds": seconds}
    if failed:
        log.info("%s from %s failed: %s%s", shown, peer, name, said, extra=fields)
    if access and access_log.isEnabledFor(logging.INFO):
        access_log.info(
            '%s "%s" %s %.3f ms%s', peer, shown, name, seconds * 1e3, said, extra=fields
        )
