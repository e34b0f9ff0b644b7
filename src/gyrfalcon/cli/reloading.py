"""Watches the files of a program that is being developed."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .failures import Failure

if TYPE_CHECKING:
    import watchfiles

log = logging.getLogger("gyrfalcon.cli")

_SUFFIXES = (".proto",)
_JOIN_SECONDS = 5.0


@contextlib.contextmanager
def reloading(folder: str) -> Iterator[None]:
    """Send this process SIGHUP whenever a source file below a folder changes.

    Raises Failure where watchfiles is not installed.
    """
    try:
        import watchfiles
    except ModuleNotFoundError:
        raise Failure(
            "--reload needs watchfiles, which is not installed", "pip install 'gyrfalcon[reload]'"
        ) from None
    stop = threading.Event()
    changes = watchfiles.watch(
        folder,
        watch_filter=watchfiles.PythonFilter(extra_extensions=_SUFFIXES),
        stop_event=stop,
        raise_interrupt=False,
    )
    # Watchers may be slow to notice the end; it is no reason to keep the process.
    thread = threading.Thread(target=_watch, args=(changes, folder), name="gyr-reload", daemon=True)
    thread.start()
    log.info("watching %s", folder)
    try:
        yield
    finally:
        stop.set()
        thread.join(_JOIN_SECONDS)


def _watch(changes: Iterator[set[watchfiles.main.FileChange]], folder: str) -> None:
    for changed in changes:
        names = sorted(os.path.relpath(path, folder) for _, path in changed)
        log.info("%s changed", ", ".join(names[:3]) + (" and others" if names[3:] else ""))
        os.kill(os.getpid(), signal.SIGHUP)
