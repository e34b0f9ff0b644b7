"""Where the requests of a call come from: -d, a file, standard input."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from .failures import WrongUse

# What one request may have, as JSON. A message of 4 MiB, which servers take, is well below.
MAX_DOCUMENT_BYTES = 64 * 2**20

_READ_BYTES = 64 * 2**10
_STDIN = ("@-", "@", "-")
# A string with its escapes (perhaps cut off by the end of the line), or a bracket.
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[{}\[\]]')
_BLANK = re.compile(r"\s*")


class Document(NamedTuple):
    """One JSON document."""

    text: str
    where: str
    """Where it stood, for errors: "-d", "standard input, line 3"."""


async def read_documents(data: Sequence[str]) -> AsyncIterator[Document]:
    """The documents of -d values, one after another: each is JSON, "@FILE" or "@-" (stdin).

    What comes from a file or stdin is read when it is asked for, and each document is given as
    soon as its last line is there. Raises WrongUse for what is no JSON or cannot be read.
    """
    for number, value in enumerate(data, 1):
        name = "-d" if len(data) == 1 else f"-d number {number}"
        if value in _STDIN:
            splitter = Splitter("standard input")
            async for line in _read_lines(_open_stdin()):
                for document in splitter.feed(line):
                    yield document
        elif value.startswith("@"):
            splitter = Splitter(value[1:])
            try:
                file = open(value[1:], "rb")  # noqa: SIM115, ASYNC230 (closed below; files do not block)
            except OSError as error:
                raise WrongUse(f"{name}: cannot read {value[1:]!r}: {error.strerror}") from None
            with file:
                async for line in _read_lines(file):
                    for document in splitter.feed(line):
                        yield document
        else:
            splitter = Splitter(name, lines=False)
            for document in splitter.feed(value.encode()):
                yield document
        for document in splitter.finish():
            yield document


class Splitter:
    """Cuts lines into JSON documents: several may stand on one line, one on several lines."""

    def __init__(self, name: str, *, lines: bool = True) -> None:
        self._name = name
        self._lines = lines
        self._line = 0
        self._began = 1
        self._parts: list[str] = []
        self._bytes = 0
        self._depth = 0

    def feed(self, line: bytes) -> Iterator[Document]:
        """The documents that end with this line."""
        self._line += 1
        if not self._parts:
            self._began = self._line
        self._bytes += len(line)
        if self._bytes > MAX_DOCUMENT_BYTES:
            raise WrongUse(
                f"{self._where()}: a request has more than {MAX_DOCUMENT_BYTES:,} bytes of JSON"
            )
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise WrongUse(f"{self._where()}: this is no UTF-8: {error}") from None
        if self._line == 1:
            text = text.removeprefix("\ufeff")
        if not self._parts and not text.strip():
            self._bytes = 0
            return
        self._parts.append(text)
        for token in _TOKEN.findall(text):
            self._depth += (token in "{[") - (token in "}]")
        if self._depth <= 0:
            yield from self.finish()

    def finish(self) -> Iterator[Document]:
        """What is left at the end of the input."""
        text, self._parts, self._bytes, self._depth = "".join(self._parts), [], 0, 0
        decoder = json.JSONDecoder()
        at = self._skip(text, 0)
        while at < len(text):
            try:
                _, end = decoder.raw_decode(text, at)
            except (json.JSONDecodeError, RecursionError) as error:
                raise WrongUse(f"{self._where()}: this is no JSON: {_fault(error)}") from None
            yield Document(text[at:end], self._where())
            at = self._skip(text, end)

    @staticmethod
    def _skip(text: str, at: int) -> int:
        found = _BLANK.match(text, at)
        return found.end() if found else at

    def _where(self) -> str:
        return f"{self._name}, line {self._began}" if self._lines else self._name


def _fault(error: Exception) -> str:
    if not isinstance(error, json.JSONDecodeError):
        return "it is nested too deep"
    around = error.doc[max(error.pos - 20, 0) : error.pos + 20].strip()
    return f"{error.msg}: {around!r}" if around else error.msg


def _open_stdin() -> BinaryIO:
    if sys.stdin is None:
        raise WrongUse("standard input is closed: there are no requests to read")
    return sys.stdin.buffer


async def _read_lines(stream: BinaryIO) -> AsyncIterator[bytes]:
    """The lines of a stream as they come; waiting for them does not hold up the loop."""
    rest: list[bytes] = []
    held = 0
    async for chunk in _read_chunks(stream):
        *lines, last = chunk.split(b"\n")
        for line in lines:
            yield b"".join([*rest, line, b"\n"])
            rest, held = [], 0
        rest.append(last)
        held += len(last)
        if held > MAX_DOCUMENT_BYTES:
            raise WrongUse(f"a line of requests has more than {MAX_DOCUMENT_BYTES:,} bytes")
    if held:
        yield b"".join(rest)


async def _read_chunks(stream: BinaryIO) -> AsyncIterator[bytes]:
    try:
        descriptor = stream.fileno()
    except OSError:  # no file of the system's
        while chunk := stream.read(_READ_BYTES):
            yield chunk
        return
    waits = _can_wait(descriptor)
    while True:
        if waits:
            await _readable(descriptor)
        chunk = os.read(descriptor, _READ_BYTES)
        if not chunk:
            return
        yield chunk


def _can_wait(descriptor: int) -> bool:
    """Whether loops can watch it: regular files and /dev/null are always ready instead."""
    mode = os.fstat(descriptor).st_mode
    return not stat.S_ISREG(mode) and not (stat.S_ISCHR(mode) and not os.isatty(descriptor))


async def _readable(descriptor: int) -> None:
    # Not loop.connect_read_pipe: it would set O_NONBLOCK for every process that has this terminal.
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(descriptor, _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
