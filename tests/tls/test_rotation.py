"""New certificates in the same files: handshakes use them, calls and connections notice nothing."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

import gyrfalcon as gyr
from tests.call.faces import HANDLERS
from tests.call.service import Stub, message, serving
from tests.certificates import Certificates

pytestmark = pytest.mark.anyio


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    """Certificates of this test's own, which it may change."""
    return Certificates(tmp_path)


@pytest.fixture
def clock() -> gyr.ManualClock:
    return gyr.ManualClock()


def serial(peer: gyr.Peer | None) -> str:
    """The serial number of a peer's certificate."""
    assert peer is not None
    assert peer.certificate is not None
    return str(peer.certificate["serialNumber"])


async def serial_met(stub: Stub, **options: object) -> str:
    """The serial number of the server's certificate, on a new connection."""
    async with stub.served.channel(**options) as channel:
        call = Stub(channel).unary(message())
        await call
        return serial(call.peer)


async def test_new_handshakes_meet_the_new_certificate(
    files: Certificates, clock: gyr.ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gyrfalcon.transport")
    options = {"tls": files.server_tls()}, {"tls": files.client_tls()}
    async with serving(*options, clock, **HANDLERS) as stub:
        old = stub.unary(message(b"a"))
        assert (await old).value == b"a"
        files.issue("server", "192.0.2.1")
        assert await serial_met(stub) == serial(old.peer), "the files are not looked at so soon"
        clock.advance(1.0)
        new = await serial_met(stub)
        assert new != serial(old.peer)
        again = stub.unary(message(b"b"))
        assert (await again).value == b"b"
        assert serial(again.peer) == serial(old.peer), "the connection goes on"
    assert f"TLS files were reloaded: {files.server_cert}, {files.server_key}" in caplog.text


async def test_a_certificate_waits_for_its_key(
    files: Certificates, clock: gyr.ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    options = {"tls": files.server_tls()}, {"tls": files.client_tls()}
    async with serving(*options, clock, **HANDLERS) as stub:
        old = await serial_met(stub)
        key = files.server_key.read_bytes()
        files.issue("server", "192.0.2.1")
        new_key = files.server_key.read_bytes()
        files.server_key.write_bytes(key)
        for _ in range(3):
            clock.advance(1.0)
            assert await serial_met(stub) == old
        files.server_key.write_bytes(new_key)
        clock.advance(1.0)
        assert await serial_met(stub) != old
    refusals = [one for one in caplog.records if one.levelno == logging.WARNING]
    (told,) = [one.getMessage() for one in refusals]
    assert told == (
        "new TLS files are not used, the old stay in use: "
        f"ServerTLS(key={str(files.server_key)!r}) is not the key of "
        f"ServerTLS(cert={str(files.server_cert)!r})"
    )


@pytest.mark.parametrize("broken", [b"", b"no PEM", None])
async def test_a_broken_file_keeps_the_old(
    broken: bytes | None,
    files: Certificates,
    clock: gyr.ManualClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"tls": files.server_tls()}, {"tls": files.client_tls()}
    async with serving(*options, clock, **HANDLERS) as stub:
        old = await serial_met(stub)
        if broken is None:
            files.server_cert.unlink()
        else:
            files.server_cert.write_bytes(broken)
        clock.advance(1.0)
        assert await serial_met(stub) == old
    assert "new TLS files are not used, the old stay in use: " in caplog.text


async def test_a_client_follows_its_files_too(files: Certificates, clock: gyr.ManualClock) -> None:
    seen: list[str] = []

    class Seen(gyr.Interceptor):
        def intercept(self, call: gyr.InterceptedCall) -> gyr.Interception:
            seen.append(serial(call.peer))
            yield

    server = {
        "tls": files.server_tls(client_ca=True, require_client=True),
        "interceptors": [Seen()],
    }
    client = files.mutual_tls()
    async with serving(server, {"tls": client}, clock, **HANDLERS) as stub:
        await serial_met(stub)
        files.issue("client", "new.example")
        clock.advance(1.0)
        await serial_met(stub)
    assert len(set(seen)) == 2


async def test_a_new_authority_of_clients(files: Certificates, clock: gyr.ManualClock) -> None:
    server = {"tls": files.server_tls(client_ca=True, require_client=True)}
    async with serving(server, {"tls": files.mutual_tls()}, clock, **HANDLERS) as stub:
        await stub.unary(message())
        Certificates(files.folder)
        clock.advance(1.0)
        # All files are of the new authority now, on both sides.
        await serial_met(stub)
        await stub.unary(message())


async def test_reload_is_at_once_and_says_what_is_wrong(files: Certificates) -> None:
    tls = files.server_tls()
    async with serving({"tls": tls}, {"tls": files.client_tls()}, **HANDLERS) as stub:
        old = await serial_met(stub)
        files.issue("server", "192.0.2.1")
        tls.reload()
        new = await serial_met(stub)
        assert new != old
        files.server_cert.write_bytes(b"")
        with pytest.raises(ValueError, match="has no certificate in it"):
            tls.reload()
        assert await serial_met(stub) == new


async def test_no_call_fails_while_certificates_change(
    files: Certificates, clock: gyr.ManualClock
) -> None:
    """Connections come and go, and calls run on all of them, through ten rotations."""
    options = {"tls": files.server_tls()}, {"tls": files.client_tls()}
    async with serving(*options, clock, **HANDLERS) as stub:
        met: set[str] = set()
        stopping = False

        async def call_on() -> int:
            done = 0
            while not stopping:
                assert (await stub.unary(message(b"x"))).value == b"x"
                done += 1
            return done

        steady = [asyncio.create_task(call_on()) for _ in range(4)]
        for _ in range(10):
            files.issue("server", "192.0.2.1")
            clock.advance(1.0)
            met |= set(await asyncio.gather(*(serial_met(stub) for _ in range(4))))
        stopping = True
        assert min(await asyncio.gather(*steady)) > 0
    assert len(met) == 10


# ---------------------------------------------------------------------- what can be given


def test_pem_as_bytes_and_text(files: Certificates) -> None:
    gyr.ServerTLS(files.server_cert.read_bytes(), files.server_key.read_text())
    gyr.ClientTLS(files.ca.read_bytes())


def test_a_folder_of_authorities(files: Certificates) -> None:
    gyr.ClientTLS(os.fspath(files.folder))


@pytest.fixture
def encrypted(files: Certificates) -> Path:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key(files.server_key.read_bytes(), None)
    path = files.folder / "encrypted.key"
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open"))
    )
    return path


def test_an_encrypted_key(files: Certificates, encrypted: Path) -> None:
    gyr.ServerTLS(files.server_cert, encrypted, key_password="open")
    gyr.ServerTLS(files.server_cert, encrypted, key_password=lambda: b"open")
    with pytest.raises(ValueError, match="the key is encrypted: give key_password"):
        gyr.ServerTLS(files.server_cert, encrypted)


def test_mistakes_are_named(files: Certificates) -> None:
    cert, key, other = files.server_cert, files.server_key, files.client_key
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pem"):
        gyr.ServerTLS(files.folder / "nowhere.pem", key)
    with pytest.raises(ValueError, match=r"ServerTLS\(key='.*client\.key'\) is not the key of"):
        gyr.ServerTLS(cert, other)
    with pytest.raises(ValueError, match="has no certificate in it: PEM is expected"):
        gyr.ServerTLS(key, cert)
    with pytest.raises(ValueError, match=r"require_client=True\) needs client_ca"):
        gyr.ServerTLS(cert, key, require_client=True)
    with pytest.raises(ValueError, match=r"ClientTLS\(cert=\.\.\.\) needs key too"):
        gyr.ClientTLS(cert=cert)
    with pytest.raises(ValueError, match="verifies nothing: leave ca out"):
        gyr.ClientTLS(files.ca, verify=False)
    with pytest.raises(ValueError, match="is no host name that TLS can verify"):
        gyr.ClientTLS(files.ca, server_name="")
    with pytest.raises(TypeError, match="give the path of a PEM file, or PEM as bytes"):
        gyr.ServerTLS(7, key)  # type: ignore[arg-type]


def test_the_wrong_kind_of_settings(files: Certificates) -> None:
    with pytest.raises(TypeError, match=r"a channel takes gyrfalcon\.ClientTLS"):
        gyr.Channel("x:1", tls=files.server_tls())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"a server takes gyrfalcon\.ServerTLS"):
        gyr.Server([], tls=True)  # type: ignore[arg-type]
