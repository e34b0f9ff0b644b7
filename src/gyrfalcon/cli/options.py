"""Options that several commands share, and their types."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import gyrfalcon as gyr

from .security import security_options

if TYPE_CHECKING:
    FloatType = click.ParamType[float]
    PairType = click.ParamType[tuple[str, str | bytes]]
    TextType = click.ParamType[str]
else:
    # Not every click that will do has them generic.
    FloatType = PairType = TextType = click.ParamType

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s|m|h|)")


class Duration(FloatType):
    """Seconds, or a number with one of the units us, ms, s, m, h."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(value.strip())
        seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
        if found is None or not (seconds > 0.0 or self._zero):
            least = "" if self._zero else " above zero"
            self.fail(
                f"{value!r} is no duration{least}: write seconds, or a unit as in 500ms, 2m",
                param,
                ctx,
            )
        return seconds


class Pair(PairType):
    """One pair of metadata, "key: value"; the value of a -bin key is base64."""

    name = "key: value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | bytes]:
        if isinstance(value, tuple):
            return value
        key, colon, text = value.partition(":")
        if not colon or not key.strip():
            self.fail(f"{value!r} is no pair: write 'key: value'", param, ctx)
        key, text = key.strip().lower(), text.strip()
        decoded: str | bytes = text
        if key.endswith("-bin"):
            try:
                bare = text.rstrip("=")
                decoded = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
            except binascii.Error as error:
                self.fail(f"{value!r}: the value of {key!r} is base64 ({error})", param, ctx)
        try:
            gyr.Metadata([(key, decoded)])
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return key, decoded


class Target(TextType):
    """What a channel can be made to."""

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            gyr.Channel(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


@dataclass(frozen=True)
class Connecting:
    """How to reach a server, and what every call of the command has in common."""

    metadata: list[tuple[str, str | bytes]]
    timeout: float | None
    wait_for_ready: bool
    channel_options: dict[str, Any]

    def channel(self, target: str) -> gyr.Channel:
        """A new channel. Raises click.UsageError for options that a channel does not take."""
        try:
            return gyr.Channel(target, **self.channel_options)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    def within(self, timeout: float) -> Connecting:
        """The same with a timeout, in seconds."""
        return dataclasses.replace(self, timeout=timeout)

    @property
    def call_options(self) -> dict[str, Any]:
        """The keyword arguments of a call."""
        return {
            "metadata": self.metadata,
            "timeout": self.timeout,
            "wait_for_ready": self.wait_for_ready,
        }


def connecting_options(timeout: float | None = None) -> Callable[[Callable[..., Any]], Any]:
    """The options of commands that call a server; the command gets them as `connecting`.

    `timeout` is the default of --timeout, in seconds.
    """
    shown = "no deadline" if timeout is None else f"{timeout:g}"
    options = (
        click.option(
            "-H",
            "--metadata",
            multiple=True,
            type=Pair(),
            metavar="'KEY: VALUE'",
            help="Metadata to send; may be given several times. The value of a -bin key is base64.",
        ),
        click.option(
            "--timeout",
            "--deadline",
            type=Duration(),
            default=timeout,
            metavar="DURATION",
            help="Time that each call gets, in seconds or with a unit (500ms, 2m). "
            f"Default: {shown}.",
        ),
        click.option(
            "--wait-for-ready",
            is_flag=True,
            help="Keep trying to connect, until the deadline, instead of failing at once.",
        ),
        click.option(
            "--connect-timeout",
            type=Duration(),
            default=20.0,
            metavar="DURATION",
            help="Time for one attempt to connect. Default: 20.",
        ),
        click.option(
            "--max-receive-bytes",
            type=click.IntRange(min=0),
            default=4 * 2**20,
            metavar="BYTES",
            help="The longest message to accept. Default: 4194304.",
        ),
        click.option(
            "--compression",
            type=click.Choice(["gzip", "deflate"]),
            help="Compress the requests.",
        ),
        click.option("--authority", metavar="HOST", help="The :authority of the calls."),
    )

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def command(
            *,
            metadata: tuple[tuple[str, str | bytes], ...],
            timeout: float | None,
            wait_for_ready: bool,
            connect_timeout: float,
            max_receive_bytes: int,
            compression: str | None,
            authority: str | None,
            security: dict[str, Any],
            **others: Any,
        ) -> Any:
            channel_options = {
                "connect_timeout": connect_timeout,
                "max_receive_bytes": max_receive_bytes,
                "compression": compression,
                "authority": authority,
                "user_agent": "gyr",
                **security,
            }
            connecting = Connecting(list(metadata), timeout, wait_for_ready, channel_options)
            return function(connecting=connecting, **others)

        return _with_options(security_options(command), options)

    return add


@dataclass(frozen=True)
class Definition:
    """The .proto files that say what can be called; without any the server is asked."""

    protos: tuple[Path, ...]
    proto_paths: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.protos)


def definition_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name .proto files; the command gets them as `definition`."""
    options = (
        click.option(
            "--proto",
            "protos",
            multiple=True,
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="A .proto file that defines the service; may be given several times. "
            "Default: ask the server, by reflection.",
        ),
        click.option(
            "-I",
            "--proto-path",
            "proto_paths",
            multiple=True,
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Folder in which .proto files and their imports are looked up; may be given "
            "several times. Default: the folders of the files, and the current one.",
        ),
    )

    @functools.wraps(function)
    def command(*, protos: tuple[Path, ...], proto_paths: tuple[Path, ...], **others: Any) -> Any:
        if proto_paths and not protos:
            raise click.UsageError("-I/--proto-path says where --proto files are: give --proto too")
        return function(definition=Definition(protos, proto_paths), **others)

    return _with_options(command, options)


def target_and_symbol(
    words: Sequence[str], definition: Definition, symbol: str
) -> tuple[str | None, str | None]:
    """Splits the arguments "[HOST:PORT] [symbol]": the target may be left out with --proto.

    Raises click.UsageError.
    """
    if len(words) > 2:
        raise click.UsageError(f"got {len(words)} arguments: give HOST:PORT and a {symbol}")
    # No symbol has a colon in it; most targets have.
    if definition and words and not (len(words) == 2 or ":" in words[0]):
        return None, words[0]
    if definition:
        return None, words[1] if len(words) == 2 else None
    if not words:
        raise click.UsageError("say whom to ask: HOST:PORT, or --proto FILE")
    target: str = Target().convert(words[0], None, None)
    return target, words[1] if len(words) == 2 else None


def _with_options(
    function: Callable[..., Any], options: tuple[Callable[..., Any], ...]
) -> Callable[..., Any]:
    # From the last to the first, as decorators that stand one below the other.
    for option in reversed(options):
        function = option(function)
    return function
