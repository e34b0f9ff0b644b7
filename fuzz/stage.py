"""A loop, a clock that stands still, and a network without a network: a whole server or channel is
fed bytes on it, in the way that an event loop feeds them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import gyrfalcon as gyr
from gyrfalcon.rpc.stats import ListenerStats
from gyrfalcon.transport.network import Network

# A connection that is gone ends its calls in a few turns of the loop.
SETTLING_TURNS = 40


class Complaints(logging.Handler):
    """Keeps what the runtime logs as a fault of its own: no peer may cause one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not self.formatter:
            self.setFormatter(logging.Formatter())
        self.texts.append(self.format(record))


class WireTransport(asyncio.Transport):
    """One end's transport: keeps what is written, and tells the protocol when it is gone."""

    def __init__(self, stage: Stage, protocol: Any, *, stuck: bool = False) -> None:
        super().__init__({"peername": ("192.0.2.7", 7), "sockname": ("192.0.2.1", 1)})
        self._stage = stage
        self.protocol = protocol
        self.sent: list[bytes] = []
        self._stuck = stuck
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing:
            return
        self.sent.append(bytes(data))
        if self._stuck:
            self._stuck = False
            self.protocol.pause_writing()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self.lose(None)

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """Be gone, and tell the protocol so when the loop turns."""
        if not self._closing:
            self._closing = True
            self._stage.loop.call_soon(self.protocol.connection_lost, error)

    def receive(self, data: bytes) -> None:
        """Bytes came from the peer."""
        view = memoryview(data)
        while view and not self._closing:
            buffer = memoryview(self.protocol.get_buffer(-1))
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            self.protocol.buffer_updated(size)
            view = view[size:]

    def take_sent(self) -> bytes:
        sent = b"".join(self.sent)
        self.sent.clear()
        return sent


class NoListener:
    """What is asked of a listener, without one."""

    address = "nowhere"
    port = 1

    async def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def stats(self) -> ListenerStats:
        return ListenerStats(0, self.address, ())


class StageNetwork(Network):
    """Servers are connected to by hand; a channel's first connection succeeds, the next do not."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(clock=stage.clock)
        self._stage = stage
        self.make_protocol: Callable[[], Any]
        self.connected: WireTransport | None = None

    async def listen(
        self, loop: Any, make_protocol: Any, address: Any, *, start: bool = True
    ) -> Any:
        self.make_protocol = make_protocol
        return NoListener()

    async def connect(self, loop: Any, protocol: Any, address: Any) -> None:
        if self.connected is not None:
            raise ConnectionRefusedError("the only connection was made")
        self.connected = WireTransport(self._stage, protocol)
        protocol.connection_made(self.connected)


class Stage:
    """One loop for all inputs of a process; `run` plays one input's part on it."""

    opened: ClassVar[list[Stage]] = []

    def __init__(self) -> None:
        self.opened.append(self)
        self.loop = asyncio.new_event_loop()
        self.clock = gyr.ManualClock()
        self.complaints = Complaints()
        self.loop.set_exception_handler(self._complain)

    @classmethod
    def close_all(cls) -> None:
        """Close the loops of all stages: what was played on them is of no use after it."""
        while cls.opened:
            cls.opened.pop().loop.close()

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        logging.getLogger("gyrfalcon.fuzz").error("loop: %s", context["message"], exc_info=error)

    def run(self, part: Coroutine[Any, Any, None]) -> None:
        """Run it to its end. Raises AssertionError for what was logged, and for tasks it left."""
        log = logging.getLogger("gyrfalcon")
        log.addHandler(self.complaints)
        try:
            self.loop.run_until_complete(part)
        finally:
            log.removeHandler(self.complaints)
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        texts, self.complaints.texts = self.complaints.texts, []
        assert texts == [], "\n".join(texts)
        assert not left, f"tasks are left: {left}"

    async def call(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call it, as it calls for a socket: outside of any task."""
        done = self.loop.create_future()

        def called() -> None:
            try:
                function(*arguments)
            except Exception as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self.loop.call_soon(called)
        await done

    async def turn(self, times: int = 1) -> None:
        """Let the loop turn."""
        for _ in range(times):
            await asyncio.sleep(0)

    async def settle(self, over: Callable[[], bool], what: str) -> None:
        """Let the loop turn until it is over. Raises AssertionError when it never is."""
        for _ in range(SETTLING_TURNS):
            if over():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"not over after {SETTLING_TURNS} turns of the loop: {what}")
