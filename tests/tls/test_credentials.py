"""Credentials of calls: what is sent, when it is fetched, and what happens when it cannot be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.blocking.service import BlockingStub
from tests.call.faces import FACES, PATTERNS, asking
from tests.call.service import Stub, message, serving
from tests.certificates import Certificates

pytestmark = pytest.mark.anyio


def authorization(ctx: gyr.ServerContext) -> BytesValue:
    return message(",".join(map(str, ctx.metadata.get_all("authorization"))).encode())


async def tell(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    return authorization(ctx)


async def tell_many(request: BytesValue, ctx: gyr.ServerContext) -> AsyncIterator[BytesValue]:
    yield authorization(ctx)


async def tell_joined(requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext) -> BytesValue:
    return authorization(ctx)


async def tell_each(
    requests: AsyncIterator[BytesValue], ctx: gyr.ServerContext
) -> AsyncIterator[BytesValue]:
    async for _ in requests:
        yield authorization(ctx)


TELLERS: dict[str, Any] = {
    "unary": tell,
    "server_stream": tell_many,
    "client_stream": tell_joined,
    "bidi": tell_each,
}


def fixed(info: gyr.CallInfo) -> str:
    return "t0"


class Tokens:
    """A source of tokens that counts: t1, t2, ...; each good for `lifetime` seconds."""

    def __init__(self, lifetime: float | None = None) -> None:
        self.count = 0
        self.lifetime = lifetime
        self.failure: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    def fetch(self) -> Any:
        self.count += 1
        self.asked.set()
        if self.failure is not None:
            raise self.failure
        token = f"t{self.count}"
        return token if self.lifetime is None else (token, self.lifetime)

    async def fetch_slowly(self) -> Any:
        number = self.fetch()
        if self.gate is not None:
            await self.gate.wait()
        return number


# ---------------------------------------------------------------------- what is sent


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_of_the_channel(face: str, pattern: str, certificates: Certificates) -> None:
    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls(), "credentials": fixed}
    async with asking(face, server, client, **TELLERS) as ask:
        assert await ask(pattern, b"a") == [b"Bearer t0"]


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("pattern", PATTERNS)
async def test_of_a_call_take_the_place_of_the_channels(
    face: str, pattern: str, certificates: Certificates
) -> None:
    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls(), "credentials": fixed}
    async with asking(face, server, client, **TELLERS) as ask:
        assert await ask(pattern, b"a", credentials=lambda info: "own") == [b"Bearer own"]


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_that_are_awaited(pattern: str, certificates: Certificates) -> None:
    async def credentials(info: gyr.CallInfo) -> str:
        await asyncio.sleep(0)
        return "awaited"

    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls(), "credentials": credentials}
    async with asking("asyncio", server, client, **TELLERS) as ask:
        assert await ask(pattern, b"a") == [b"Bearer awaited"]


@pytest.mark.parametrize("face", FACES)
async def test_as_metadata(face: str, certificates: Certificates) -> None:
    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        return message(f"{ctx.metadata['x-user']!r} {ctx.metadata.get_all('x-role')}".encode())

    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls()}
    async with asking(face, server, client, unary=unary) as ask:
        given = {"x-user": "ann", "x-role": ["reader", "writer"]}
        replies = await ask("unary", b"", credentials=lambda info: given)
    assert replies == [b"'ann' ['reader', 'writer']"]


@pytest.mark.parametrize("face", FACES)
async def test_are_told_what_they_are_for(face: str, certificates: Certificates) -> None:
    seen: list[tuple[str, str, str]] = []

    def credentials(info: gyr.CallInfo) -> str:
        seen.append((info.method, info.authority, info.service_url))
        return "t"

    server = {"tls": certificates.server_tls()}
    client = {
        "tls": certificates.client_tls(server_name="localhost"),
        "credentials": credentials,
        "authority": "localhost:443",
    }
    async with asking(face, server, client, **TELLERS) as ask:
        await ask("unary", b"a")
    assert seen == [("/tests.Calls/Unary", "localhost:443", "https://localhost/tests.Calls")]


async def test_each_attempt_asks_anew(certificates: Certificates) -> None:
    class Again(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            outcome = yield
            if outcome.code is gyr.StatusCode.UNAUTHENTICATED:
                yield gyr.Retry()

    async def unary(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
        if authorization(ctx).value != b"Bearer t2":
            raise gyr.Unauthenticated("an old token")
        return message(b"welcome")

    tokens = Tokens()
    client = {
        "tls": certificates.client_tls(),
        "credentials": lambda info: tokens.fetch(),
        "interceptors": [Again()],
    }
    async with serving({"tls": certificates.server_tls()}, client, unary=unary) as stub:
        assert (await stub.unary(message())).value == b"welcome"


# ---------------------------------------------------------------------- plaintext


@pytest.mark.parametrize("kind", [gyr.Channel, gyr.blocking.Channel])
def test_a_plaintext_channel_with_credentials_is_refused(kind: Any) -> None:
    with pytest.raises(
        ValueError, match=r"credentials are not sent in plaintext: give the channel"
    ):
        kind("localhost:50051", credentials=fixed)


@pytest.mark.parametrize("face", FACES)
async def test_a_plaintext_call_with_credentials_is_refused(face: str) -> None:
    asked: list[gyr.CallInfo] = []

    def credentials(info: gyr.CallInfo) -> str:
        asked.append(info)
        return "secret"

    async with asking(face, **TELLERS) as ask:
        with pytest.raises(gyr.Unauthenticated) as failed:
            await ask("unary", b"a", credentials=credentials)
    assert failed.value.message.startswith("the credentials of the call could not be had: ")
    assert "credentials are not sent in plaintext" in failed.value.message
    assert asked == []


@pytest.mark.parametrize("face", FACES)
async def test_plaintext_is_allowed_by_name(face: str) -> None:
    client = {"credentials": fixed, "allow_plaintext_credentials": True}
    async with asking(face, None, client, **TELLERS) as ask:
        assert await ask("unary", b"a") == [b"Bearer t0"]


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (OSError("no route"), gyr.StatusCode.UNAVAILABLE, "OSError: no route"),
        (gyr.PermissionDenied("locked"), gyr.StatusCode.PERMISSION_DENIED, "locked"),
        (gyr.NotFound("no user"), gyr.StatusCode.INTERNAL, "NOT_FOUND"),
        (gyr.InvalidArgument("bad"), gyr.StatusCode.INTERNAL, "INVALID_ARGUMENT"),
    ],
)
async def test_that_raise(
    face: str, error: Exception, code: gyr.StatusCode, text: str, certificates: Certificates
) -> None:
    def credentials(info: gyr.CallInfo) -> str:
        raise error

    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls(), "credentials": credentials}
    async with asking(face, server, client, **TELLERS) as ask:
        with pytest.raises(gyr.RpcError) as failed:
            await ask("unary", b"a")
    assert failed.value.code is code
    assert text in failed.value.message
    assert failed.value.__cause__ is error


async def test_what_cannot_be_sent_does_not_tell_the_secret(certificates: Certificates) -> None:
    server = {"tls": certificates.server_tls()}
    client = {"tls": certificates.client_tls(), "credentials": lambda info: "s3cret\n"}
    async with asking("asyncio", server, client, **TELLERS) as ask:
        with pytest.raises(gyr.Internal) as failed:
            await ask("unary", b"a")
    assert "s3cret" not in str(failed.value)


async def test_that_wait_are_given_up_at_the_deadline(certificates: Certificates) -> None:
    ended: list[bool] = []

    async def credentials(info: gyr.CallInfo) -> str:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)
        raise AssertionError

    client = {"tls": certificates.client_tls(), "credentials": credentials}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        with pytest.raises(gyr.DeadlineExceeded):
            await stub.unary(message(), timeout=0.05)
    assert ended == [True]


@pytest.mark.parametrize("credentials", ["token", 7, gyr.BearerToken])
def test_what_are_no_credentials(credentials: Any, certificates: Certificates) -> None:
    with pytest.raises(TypeError, match=r"pass a function of a gyrfalcon\.CallInfo"):
        gyr.Channel("localhost:1", tls=certificates.client_tls(), credentials=credentials)


async def awaits(info: gyr.CallInfo) -> str:
    return "t"


@pytest.mark.parametrize("credentials", [awaits, gyr.BearerToken(Tokens().fetch_slowly)])
def test_a_blocking_channel_awaits_none(credentials: Any, certificates: Certificates) -> None:
    with pytest.raises(TypeError, match="a blocking channel cannot run: write them with `def`"):
        gyr.blocking.Channel("x:1", tls=certificates.client_tls(), credentials=credentials)


async def test_a_blocking_call_awaits_none(certificates: Certificates) -> None:
    server, client = {"tls": certificates.server_tls()}, {"tls": certificates.client_tls()}
    async with asking("blocking", server, client, **TELLERS) as ask:
        with pytest.raises(TypeError, match="a blocking channel cannot run"):
            await ask("unary", b"a", credentials=awaits)


# ---------------------------------------------------------------------- bearer tokens


@pytest.fixture
def clock() -> gyr.ManualClock:
    return gyr.ManualClock()


async def ask_with(stub: Stub, credentials: gyr.BearerToken) -> str:
    reply = await stub.unary(message(), credentials=credentials)
    return reply.value.decode()


@pytest.mark.parametrize("slow", [False, True])
async def test_a_token_is_kept_and_refreshed_ahead(
    slow: bool, certificates: Certificates, clock: gyr.ManualClock
) -> None:
    tokens = Tokens(lifetime=600.0)
    fetch = tokens.fetch_slowly if slow else tokens.fetch
    bearer = gyr.BearerToken(fetch, refresh_before=60.0, clock=clock)
    client = {"tls": certificates.client_tls()}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        assert [await ask_with(stub, bearer) for _ in range(3)] == ["Bearer t1"] * 3
        clock.advance(539.0)
        assert await ask_with(stub, bearer) == "Bearer t1"
        assert tokens.count == 1
        clock.advance(2.0)
        if slow:
            # The call that finds it due goes with the old one.
            assert await ask_with(stub, bearer) == "Bearer t1"
        assert await ask_with(stub, bearer) == "Bearer t2"
        clock.advance(601.0)
        assert await ask_with(stub, bearer) == "Bearer t3"
    assert tokens.count == 3


async def test_many_calls_fetch_one_token(certificates: Certificates) -> None:
    tokens = Tokens(lifetime=600.0)
    tokens.gate = asyncio.Event()
    bearer = gyr.BearerToken(tokens.fetch_slowly)
    client = {"tls": certificates.client_tls(), "credentials": bearer}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        calls = [stub.unary(message()) for _ in range(20)]
        await tokens.asked.wait()
        tokens.gate.set()
        replies = {(await call).value for call in calls}
    assert (replies, tokens.count) == ({b"Bearer t1"}, 1)


async def test_a_call_that_is_cancelled_does_not_end_the_fetch(certificates: Certificates) -> None:
    tokens = Tokens(lifetime=600.0)
    tokens.gate = asyncio.Event()
    client = {
        "tls": certificates.client_tls(),
        "credentials": gyr.BearerToken(tokens.fetch_slowly),
    }
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        first, second = stub.unary(message()), stub.unary(message())
        await tokens.asked.wait()
        first.cancel()
        tokens.gate.set()
        assert (await second).value == b"Bearer t1"
    assert tokens.count == 1


async def test_a_refresh_that_fails_leaves_the_old_token_in_use(
    certificates: Certificates, clock: gyr.ManualClock
) -> None:
    tokens = Tokens(lifetime=100.0)
    bearer = gyr.BearerToken(tokens.fetch, refresh_before=50.0, clock=clock)
    client = {"tls": certificates.client_tls()}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        assert await ask_with(stub, bearer) == "Bearer t1"
        tokens.failure = OSError("down")
        clock.advance(60.0)
        assert [await ask_with(stub, bearer) for _ in range(3)] == ["Bearer t1"] * 3
        assert tokens.count == 2, "it is not tried again with each call"
        clock.advance(40.0)
        with pytest.raises(gyr.Unavailable, match="OSError: down"):
            await ask_with(stub, bearer)
        tokens.failure = None
        assert await ask_with(stub, bearer) == "Bearer t4"


async def test_a_token_may_be_invalidated(certificates: Certificates) -> None:
    tokens = Tokens()
    bearer = gyr.BearerToken(tokens.fetch)
    client = {"tls": certificates.client_tls()}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        assert await ask_with(stub, bearer) == "Bearer t1"
        bearer.invalidate()
        assert await ask_with(stub, bearer) == "Bearer t2"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_threads_fetch_one_token(certificates: Certificates, gate: threading.Event) -> None:
    tokens = Tokens(lifetime=600.0)

    def fetch() -> Any:
        gate.wait()
        return tokens.fetch()

    bearer = gyr.BearerToken(fetch)
    client = {"tls": certificates.client_tls()}
    async with serving({"tls": certificates.server_tls()}, client, **TELLERS) as stub:
        stubs = [BlockingStub(stub.served.blocking_channel()) for _ in range(4)]
        calls = [
            asyncio.create_task(asyncio.to_thread(one.unary, message(), credentials=bearer))
            for one in stubs
        ]
        gate.set()
        replies = {(await call).value for call in calls}
    assert (replies, tokens.count) == ({b"Bearer t1"}, 1)
