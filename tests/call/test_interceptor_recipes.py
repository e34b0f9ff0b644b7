"""The interceptors of the how-to, over all four patterns, called from both faces."""

from __future__ import annotations

import logging
import re
from types import ModuleType
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.faces import FACES, HANDLERS, PATTERNS, REPLIES, asking
from tests.docs.pages import read_page

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("face", FACES),
    pytest.mark.parametrize("pattern", PATTERNS),
]

SOURCE = read_page("docs/how-to/interceptors.md").files["interceptors.py"]


@pytest.fixture(scope="module")
def recipes() -> Any:
    module = ModuleType("interceptors")
    exec(compile(SOURCE, "docs/how-to/interceptors.md", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", ["Authentication", "Logging", "Caching", "Retrying"])
async def test_each_is_shorter_than_thirty_lines(pattern: str, face: str, name: str) -> None:
    found = re.search(rf"^class {name}\(.*?(?=\n\n\n|\Z)", SOURCE, re.MULTILINE | re.DOTALL)
    assert found is not None
    assert len(found[0].splitlines()) < 30


async def test_authentication(pattern: str, face: str, recipes: Any) -> None:
    seen = []

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        seen.append(recipes.reader.get())
        return request

    handlers = {**HANDLERS, "unary": unary}
    server_options = {"interceptors": [recipes.Authentication({"s3cret": "Catherine"})]}
    async with asking(face, server_options, **handlers) as ask:
        with pytest.raises(gyr.Unauthenticated, match="send metadata: authorization"):
            await ask(pattern, b"a")
        with pytest.raises(gyr.Unauthenticated):
            await ask(pattern, b"a", metadata={"authorization": "Bearer wrong"})
        metadata = {"authorization": "Bearer s3cret"}
        assert await ask(pattern, b"a", metadata=metadata) == REPLIES[pattern]
    assert seen == (["Catherine"] if pattern == "unary" else [])


@pytest.mark.parametrize("side", ["server_options", "channel_options"])
async def test_logging(
    pattern: str, face: str, side: str, recipes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "library")
    async with asking(face, **{side: {"interceptors": [recipes.Logging()]}}, **HANDLERS) as ask:
        await ask(pattern, b"a")
    lines = [record.getMessage() for record in caplog.records if record.name == "library"]
    replies = len(REPLIES[pattern])
    assert len(lines) == 1
    assert re.fullmatch(
        rf"/tests\.Calls/\w+ with ipv4:[\d.]+:\d+: OK \(1 requests, {replies} replies\) "
        r"\d+\.\d ms",
        lines[0],
    )


@pytest.mark.parametrize("side", ["server_options", "channel_options"])
async def test_caching(pattern: str, face: str, side: str, recipes: Any) -> None:
    served = 0

    class Counting(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            nonlocal served
            served += 1
            yield

    # The innermost on either side: what was answered from memory does not get there.
    options = {side: {"interceptors": [recipes.Caching(), Counting()]}}
    async with asking(face, **options, **HANDLERS) as ask:
        for _ in range(3):
            replies = await ask(pattern, b"a", metadata={"idempotency-key": "1"})
            assert replies == REPLIES[pattern]
        assert served == 1
        await ask(pattern, b"b", metadata={"idempotency-key": "2"})
        assert served == 2


async def test_retrying(pattern: str, face: str, recipes: Any) -> None:
    attempts: list[object] = []

    class Failing(gyr.Interceptor):
        """On the server: the first two attempts find it unavailable, after the requests came."""

        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            attempts.append(call.metadata.get("grpc-previous-rpc-attempts"))
            yield
            if len(attempts) < 3:
                raise gyr.Unavailable("not now")

    handlers = dict(HANDLERS)
    if pattern in ("server_stream", "bidi"):
        # A reply that was handed on ends all retrying: none may come before the failure.
        async def silent(request: Any, ctx: gyr.ServerContext) -> Any:
            if pattern == "bidi":
                request = await anext(request)
            if len(attempts) < 3:
                return
            for _ in REPLIES[pattern]:
                yield request

        handlers[pattern] = silent
    retrying = recipes.Retrying(attempts=3, pause=0.001)
    async with asking(
        face, {"interceptors": [Failing()]}, {"interceptors": [retrying]}, **handlers
    ) as ask:
        assert await ask(pattern, b"a") == REPLIES[pattern]
        assert len(attempts) == 3
        attempts[:] = []
        gives_up = recipes.Retrying(attempts=2, pause=0.001)
    async with asking(
        face, {"interceptors": [Failing()]}, {"interceptors": [gives_up]}, **handlers
    ) as ask:
        with pytest.raises(gyr.Unavailable, match="not now"):
            await ask(pattern, b"a")
    assert len(attempts) == 2
