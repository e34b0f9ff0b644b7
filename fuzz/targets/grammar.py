"""Two connections of ours joined by wires that cut, hold back and damage what they carry, and two
applications that do anything at any time. Every input is a list of such steps.

Asked of both ends: that a stream tells its head, its messages, at most one END or FAULT, and CLOSED
once; that messages come as they were sent; that what is held has its bounds; that nothing raises;
and that two honest ends never fail each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from fuzz.choices import Choices
from fuzz.frames import SentFrames
from gyrfalcon._core.connection import Connection
from gyrfalcon._core.fields import Fields
from gyrfalcon._core.stream import CompressedMessage, Stream

HEAD, MESSAGE, END, FAULT, CLOSED, WRITABLE, DEADLINE, UNSENT = (1 << bit for bit in range(8))
REQUEST = Fields([
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/f.S/B"), (b":authority", b"f"),
    (b"te", b"trailers"), (b"content-type", b"application/grpc"),
])  # fmt: skip
RESPONSE = Fields([(b":status", b"200"), (b"content-type", b"application/grpc")])
TRAILERS = Fields([(b"grpc-status", b"0")])
EXTRA = Fields([(b"key", b"value")], index=False)
STREAM_WINDOW, CONNECTION_WINDOW, MAX_UNREAD, MAX_RECEIVE, MAX_STREAMS = 1000, 65535, 5000, 3000, 5
SIZES = (0, 1, 5, 100, 999, MAX_RECEIVE, MAX_RECEIVE + 1, 20_000)
PIECES = (1, 8, 9, 10, 60, 1000, 1 << 14, 1 << 30)
STEPS = 300


def text(number: int, size: int) -> bytes:
    """A message that is like no other of its size."""
    return (b"%d." % number * (size // 2 + 1))[:size]


class Side:
    """One end: its connection, its application, and what it has put on the wire."""

    def __init__(self, play: Play, *, server: bool) -> None:
        self.play = play
        self.connection = Connection(
            server=server, stream_window=STREAM_WINDOW, connection_window=CONNECTION_WINDOW,
            max_unread_bytes=MAX_UNREAD, max_receive_bytes=MAX_RECEIVE,
            max_concurrent_streams=MAX_STREAMS,
        )  # fmt: skip
        self.server = server
        self.wire = bytearray()
        self.frames = SentFrames(client=not server)
        self.known: list[Stream] = []
        self.told: dict[int, int] = defaultdict(int)
        self.sent: dict[int, list[bytes]] = defaultdict(list)
        self.got: dict[int, list[bytes]] = defaultdict(list)
        self.finished: set[int] = set()
        self.headed: set[int] = set()
        self.dropped: set[int] = set()

    @property
    def peer(self) -> Side:
        return self.play.client if self.server else self.play.server

    # ------------------------------------------------------------------ the wire

    def flush(self, limit: int = 1 << 30) -> None:
        output = self.connection.take_output(limit)
        self.frames.take(output)
        self.wire += output

    def deliver(self, size: int) -> bool:
        """Carry some of it to the peer; whether there was any."""
        if not self.wire:
            return False
        piece = bytes(self.wire[:size])
        del self.wire[:size]
        self.peer.connection.receive(piece)
        return True

    # ------------------------------------------------------------------ the application

    def listen(self) -> None:
        for stream in self.connection.take_ready():
            events = stream.take_events()
            number = stream.id
            if number not in self.told:
                self.told[number] = 0
                if self.server:
                    self.known.append(stream)
            self.check_events(stream, self.told[number], events)
            self.told[number] |= events & ~(MESSAGE | WRITABLE | DEADLINE)
            if events & END and number not in self.dropped:
                self.take(stream, 1 << 30)
                self.check_all_came(stream)

    def check_events(self, stream: Stream, before: int, events: int) -> None:
        once = HEAD | END | FAULT | CLOSED
        assert not before & CLOSED, f"{stream} tells {events} after CLOSED"
        assert not before & events & once, f"{stream} tells {before & events & once} again"
        after = before | events
        assert not (after & END and after & FAULT), f"{stream} tells END and FAULT"
        if after & (MESSAGE | END | FAULT):
            assert after & HEAD, f"{stream} tells {events} without a head"
        assert bool(after & FAULT) == (stream.fault is not None)
        assert bool(after & CLOSED) == stream.closed
        if after & CLOSED:
            assert stream.reset_code != -1

    def take(self, stream: Stream, count: int) -> None:
        for _ in range(count):
            one = stream.take_message()
            if one is None:
                break
            data = one.data if isinstance(one, CompressedMessage) else one
            assert len(data) <= MAX_RECEIVE
            self.got[stream.id].append(data)
        if not self.play.damaged:
            got = self.got[stream.id]
            assert got == self.peer.sent[stream.id][: len(got)], f"{stream} got other messages"

    def check_all_came(self, stream: Stream) -> None:
        if not self.play.damaged and stream.fault is None:
            assert stream.id in self.peer.finished, f"{stream} tells an END that nobody made"
            assert self.got[stream.id] == self.peer.sent[stream.id]

    def send(self, stream: Stream, size: int, compressed: bool) -> None:
        self.play.messages += 1
        data = text(self.play.messages, size)
        if stream.id not in self.finished and not stream.closed and not stream.local_ended:
            self.sent[stream.id].append(data)
        stream.send_message(data, compressed=compressed)

    def answer(self, stream: Stream, *, end: bool) -> None:
        if not self.server or stream.id in self.headed or stream.local_ended:
            return
        self.headed.add(stream.id)
        if end:
            self.finished.add(stream.id)
        stream.send_head(RESPONSE, TRAILERS if end else EXTRA, end=end)

    def finish(self, stream: Stream) -> None:
        if self.server:
            self.answer(stream, end=False)
        self.finished.add(stream.id)
        stream.finish(TRAILERS if self.server else None, EXTRA if self.server else None)

    def check_bounds(self) -> None:
        connection = self.connection
        # Whole messages: until the connection's window is shut, and what was under way then.
        assert connection.unread_bytes <= MAX_UNREAD + CONNECTION_WINDOW, connection.unread_bytes
        # Unfinished ones: their limit, and the one that may always go on.
        assert connection.unfinished_bytes <= MAX_UNREAD + MAX_RECEIVE, connection.unfinished_bytes
        if self.server:
            assert connection.open_streams <= MAX_STREAMS

    def end(self) -> None:
        self.listen()
        self.connection.close()
        self.listen()
        assert self.connection.open_streams == 0
        assert self.connection.unread_bytes == 0
        assert self.connection.unfinished_bytes == 0
        for stream in self.known:
            assert self.told[stream.id] & CLOSED, f"{stream} never told CLOSED"
            self.take(stream, 1 << 30)


class Play:
    """Both ends and the steps."""

    def __init__(self) -> None:
        self.damaged = False
        self.terminated = False
        # Whether the client has said goodbye.
        self.left = False
        self.messages = 0
        self.now = 0.0
        self.client = Side(self, server=False)
        self.server = Side(self, server=True)

    def step(self, choices: Choices) -> None:
        first = choices.byte()
        side = self.server if first & 1 else self.client
        step = ACTIONS[(first >> 1) % len(ACTIONS)]
        step(self, side, choices)
        side.listen()
        side.check_bounds()

    # ------------------------------------------------------------------ steps

    def open(self, side: Side, choices: Choices) -> None:
        if self.client.connection.can_open and not self.left and len(self.client.known) < 40:
            self.client.known.append(self.client.connection.open(REQUEST, EXTRA))

    def send(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        kind = choices.byte()
        # What a program may queue without room has no bound of the core's.
        if stream is not None and stream.out_bytes < 100_000:
            if side.server:
                side.answer(stream, end=False)
            side.send(stream, SIZES[kind & 7], bool(kind & 8))

    def finish(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.finish(stream)

    def answer(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.answer(stream, end=choices.flag())

    def cancel(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.dropped.add(stream.id)
            stream.cancel(choices.byte())

    def discard(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.dropped.add(stream.id)
            stream.discard()

    def take(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.take(stream, choices.byte())

    def ask_writable(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            stream.notify_writable(choices.byte() * 100)

    def arm(self, side: Side, choices: Choices) -> None:
        stream = self.pick(side, choices)
        if stream is not None:
            side.connection.set_deadline(stream, self.now + choices.byte())

    def expire(self, side: Side, choices: Choices) -> None:
        self.now += choices.byte()
        side.connection.on_timeout(self.now)

    def carry(self, side: Side, choices: Choices) -> None:
        kind = choices.byte()
        side.flush(PIECES[kind & 7])
        side.deliver(PIECES[kind >> 3 & 7])
        side.peer.listen()
        side.peer.check_bounds()

    def carry_all(self, side: Side, choices: Choices) -> None:
        """Until both are silent: each answers what it got."""
        size = PIECES[4 + choices.byte() % 4]
        for _ in range(200):
            self.client.flush()
            self.server.flush()
            moved = self.client.deliver(size)
            moved |= self.server.deliver(size)
            for one in (self.client, self.server):
                one.listen()
                one.check_bounds()
            if not moved:
                break

    def say(self, side: Side, choices: Choices) -> None:
        """What is of the connection, not of a stream."""
        kind = choices.below(8)
        connection = side.connection
        if kind < 4:
            connection.ping(bytes([kind] * 8))
        elif side.server and kind == 4:
            connection.drain()
        elif side.server and kind == 5:
            connection.finish_drain()
        elif kind == 6:
            # Between a client's GOAWAY and requests that wait behind it libnghttp2 reads nothing: a
            # client says it when its calls are over.
            if side.server or not connection.open_streams:
                self.left |= not side.server
                connection.goaway(0, b"bye")
        elif kind == 7:
            self.terminated = True
            connection.terminate(choices.byte() % 14)

    def damage(self, side: Side, choices: Choices) -> None:
        """One byte of what is on the wire is another, lost or new."""
        if not side.wire:
            return
        self.damaged = True
        at = choices.below(len(side.wire)) if len(side.wire) < 1 << 16 else choices.byte()
        kind, value = choices.byte() % 3, choices.byte()
        if kind == 0:
            side.wire[at] = value
        elif kind == 1:
            del side.wire[at]
        else:
            side.wire.insert(at, value)

    def close(self, side: Side, choices: Choices) -> None:
        """The transport is gone, with what was on it."""
        if choices.byte() > 250:
            side.connection.close()

    @staticmethod
    def pick(side: Side, choices: Choices) -> Stream | None:
        number = choices.byte()
        return side.known[number % len(side.known)] if side.known else None

    def end(self) -> None:
        if not (self.damaged or self.terminated):
            for side in (self.client, self.server):
                assert side.connection.failure is None, side.connection.failure
        self.client.end()
        self.server.end()


Step = Callable[[Play, Side, Choices], None]
ACTIONS: tuple[Step, ...] = (
    Play.open, Play.send, Play.send, Play.finish, Play.answer, Play.cancel, Play.discard, Play.take,
    Play.ask_writable, Play.arm, Play.expire, Play.carry, Play.carry, Play.carry_all,
    Play.say, Play.damage, Play.close,
)  # fmt: skip


def check(data: bytes) -> None:
    choices = Choices(data)
    play = Play()
    for _ in range(STEPS):
        if not choices:
            break
        play.step(choices)
    play.end()


CLIENT, SERVER = 0, 1


def code(step: Step, side: int, *more: int) -> bytes:
    return bytes([ACTIONS.index(step) << 1 | side, *more])


def seeds() -> Iterable[bytes]:
    """The patterns, and the usual ends of a call."""
    all_over = code(Play.carry_all, CLIENT, 3)
    some = code(Play.carry, CLIENT, 0o24) + code(Play.carry, SERVER, 0o42)
    ask = code(Play.open, CLIENT) + code(Play.send, CLIENT, 0, 3)
    half_close = code(Play.finish, CLIENT, 0)
    reply = code(Play.send, SERVER, 0, 4)
    over = code(Play.finish, SERVER, 0)
    take = code(Play.take, CLIENT, 0, 1) + code(Play.take, SERVER, 0, 1)
    unary = ask + half_close + all_over + reply + over + all_over + take
    yield unary
    yield unary * 3
    yield ask + half_close + all_over + reply * 9 + some * 4 + take * 3 + over + all_over + take
    yield ask + code(Play.send, CLIENT, 0, 5) * 6 + some * 9 + take * 3 + half_close + all_over
    yield ask + all_over + (code(Play.send, CLIENT, 0, 2) + all_over + reply + all_over + take) * 4
    yield ask + all_over + code(Play.answer, SERVER, 0, 1) + all_over
    yield ask + code(Play.send, CLIENT, 0, 7) + all_over + reply + over + all_over
    yield ask * 8 + all_over + code(Play.finish, SERVER, 0) + all_over
    for step in (Play.cancel, Play.discard, Play.ask_writable, Play.arm, Play.expire):
        for side in (CLIENT, SERVER):
            yield ask + some + code(step, side, 0, 8) + reply + all_over + code(step, side, 0, 9)
    for kind in range(8):
        for side in (CLIENT, SERVER):
            yield ask + all_over + code(Play.say, side, kind) + ask + reply + over + all_over
    for at in (3, 9, 30, 60):
        yield (
            ask + code(Play.carry, CLIENT, 0o07) + code(Play.damage, CLIENT, at, 0, 255) + all_over
        )
    yield ask + some + code(Play.close, SERVER, 255) + all_over + ask
