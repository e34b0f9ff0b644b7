"""A QueueServer behind the face of `servers`: threads take its events, the test's loop has the
handler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

import gyrfalcon as gyr
from gyrfalcon.blocking import CompletionQueue, Event, QueueCall, QueueServer
from tests.call.service import Calls
from tests.interop.clients import Pair
from tests.interop.servers import Handler, RawCalls, boxed, one, only_reply, same, take

DRAINERS = 2


class QueueContext:
    """What a handler may know of its call."""

    def __init__(self, call: QueueCall[Any, Any]) -> None:
        self._call = call

    @property
    def metadata(self) -> list[Pair]:
        return self._call.metadata.items()

    def time_remaining(self) -> float | None:
        return self._call.time_remaining()

    async def send_initial(self, metadata: Iterable[Pair]) -> None:
        self._call.send_initial_metadata(list(metadata))

    def set_trailing(self, metadata: Iterable[Pair]) -> None:
        for key, value in metadata:
            self._call.trailing_metadata.add(key, value)

    def compress(self, name: str) -> None:
        self._call.compression = name

    async def fail(self, code: int, message: str, details: bytes = b"") -> None:
        unpacked = gyr.Status(gyr.StatusCode(code), message, details).details
        raise gyr.RpcError(message, code=gyr.StatusCode(code), details=unpacked)


class Answerer:
    """Runs one call after another on the test's loop; a tag is the function for its event."""

    def __init__(self, handler: Handler, wrap: Callable[[bytes], Any]) -> None:
        self._handler = handler
        self._wrap = wrap
        self._loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()

    def ask(self, server: QueueServer, queue: CompletionQueue, method: Any) -> None:
        def arrived(event: Event[QueueCall[Any, Any]]) -> None:
            if event.ok:
                self.ask(server, queue, method)
                self._loop.call_soon_threadsafe(self._begin, event.result())

        server.request_call(method, queue=queue, tag=arrived)

    def _begin(self, call: QueueCall[Any, Any]) -> None:
        task = self._loop.create_task(self._answer(call))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

        def done(event: Event[bool]) -> None:
            if event.result():
                self._loop.call_soon_threadsafe(task.cancel)

        call.notify_when_done(done)

    async def _step(self, start: Callable[[Callable[[Event[Any]], None]], None]) -> Event[Any]:
        """Start an operation and wait for its event."""
        future: asyncio.Future[Event[Any]] = self._loop.create_future()

        def deliver(event: Event[Any]) -> None:
            if not future.done():
                future.set_result(event)

        def tag(event: Event[Any]) -> None:
            self._loop.call_soon_threadsafe(deliver, event)

        start(tag)
        return await future

    async def _requests(self, call: QueueCall[Any, Any]) -> AsyncIterator[bytes]:
        while True:
            event = await self._step(call.read)
            message = event.result()
            if not event.ok:
                return
            yield take(message)

    async def _answer(self, call: QueueCall[Any, Any]) -> None:
        pattern = call.method.pattern
        requests = self._requests(call) if pattern.client_streaming else one(take(call.request))
        replies: Any = self._handler(requests, QueueContext(call))
        try:
            if not pattern.server_streaming:
                reply = self._wrap(await only_reply(replies))
                await self._step(partial(call.finish, reply))
                return
            async with aclosing(replies):
                async for data in replies:
                    if not (await self._step(partial(call.write, self._wrap(data)))).ok:
                        return
            await self._step(lambda tag: call.finish(tag=tag))
        except Exception as error:
            failure = error  # a name that outlives this block
            await self._step(lambda tag: call.finish(error=failure, tag=tag))


@asynccontextmanager
async def queue_server(
    handler: Handler,
    *,
    raw: bool = False,
    max_receive_bytes: int | None = None,
    address: str = "127.0.0.1:0",
) -> AsyncIterator[str]:
    options: Any = {"grace": 5.0}
    if max_receive_bytes is not None:
        options["max_receive_bytes"] = max_receive_bytes
    definition = (RawCalls if raw else Calls).__gyr_service__
    queue = CompletionQueue()
    server = QueueServer([definition], **options)
    answerer = Answerer(handler, same if raw else boxed)

    def drain() -> None:
        for event in queue:
            event.tag(event)

    drainers = [threading.Thread(target=drain) for _ in range(DRAINERS)]
    for thread in drainers:
        thread.start()
    try:
        for method in definition.methods:
            answerer.ask(server, queue, method)
        port = server.listen(address)
        server.start()
        yield f"127.0.0.1:{port}" if port else address
    finally:
        await asyncio.to_thread(server.stop)
        queue.shutdown()
        for thread in drainers:
            await asyncio.to_thread(thread.join)
        # A call may begin here after the queue has ended: nobody tells it that it is over.
        for task in answerer.tasks:
            task.cancel()
        await asyncio.gather(*answerer.tasks, return_exceptions=True)
