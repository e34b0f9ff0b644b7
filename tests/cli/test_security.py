"""`gyr` with TLS and with tokens, against a server that wants them."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls
from tests.certificates import Certificates
from tests.cli.running import Ran, run, start

PROTO = """
syntax = "proto3";
package tests;
import "google/protobuf/wrappers.proto";
service Calls { rpc Unary(google.protobuf.BytesValue) returns (google.protobuf.BytesValue); }
"""


QUOTES = '""'  # the JSON of no bytes


async def tell(request: BytesValue, ctx: gyr.ServerContext) -> BytesValue:
    told = (*ctx.peer.identities, ctx.peer.auth_type, *ctx.metadata.get_all("authorization"))
    raise gyr.Aborted(" ".join(map(str, told)))


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def mutual(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


@pytest.fixture
def target(certificates: Certificates, mutual: bool) -> Iterator[str]:
    tls = certificates.server_tls(client_ca=mutual or None, require_client=mutual)
    services = [Calls(unary=tell), gyr.services.Health(), gyr.services.Reflection()]
    with gyr.blocking.Server(services, tls=tls) as server:
        yield f"localhost:{server.listen('127.0.0.1:0')}"


@pytest.fixture
def options(certificates: Certificates, mutual: bool) -> list[str | Path]:
    found: list[str | Path] = ["--cacert", certificates.ca]
    if mutual:
        found += ["--cert", certificates.client_cert, "--key", certificates.client_key]
    return found


@pytest.fixture
def proto(tmp_path: Path) -> Path:
    path = tmp_path / "calls.proto"
    path.write_text(PROTO, encoding="utf-8")
    return path


def test_every_verb_calls_with_tls(target: str, options: list[str | Path]) -> None:
    assert run("health", target, *options) == Ran(0, "SERVING\n", "")
    listed = run("list", target, *options)
    assert (listed.status, "grpc.health.v1.Health" in listed.stdout) == (0, True)
    described = run("describe", target, "grpc.health.v1.Health", *options)
    assert (described.status, "rpc Check" in described.stdout) == (0, True)
    method = "grpc.health.v1.Health/Check"
    assert run("call", target, method, *options) == Ran(0, '{"status": "SERVING"}\n', "")
    benched = run("bench", target, method, "-n", "10", "--warmup", "0", "-q", *options)
    assert benched.status == 0


def test_a_token_and_who_one_is(
    target: str, options: list[str | Path], proto: Path, mutual: bool, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("s3cret\n", encoding="utf-8")
    for token in ("s3cret", f"@{secret}"):
        sent = ("--token", token, *options)
        ran = run("call", target, "tests.Calls/Unary", "-d", QUOTES, "--proto", proto, *sent)
        names = "orders.example " if mutual else ""
        assert (ran.status, ran.stderr.strip()) == (74, f"Error: ABORTED: {names}tls Bearer s3cret")


def test_the_certificate_is_looked_at(target: str, mutual: bool) -> None:
    if not mutual:
        ran = run("health", target, "--tls")
        assert ran.status == 64 + 14
        assert "the certificate of the server does not hold" in ran.stderr
        assert run("health", target, "--insecure") == Ran(0, "SERVING\n", "")


def test_another_name(target: str, options: list[str | Path]) -> None:
    ran = run("health", target, *options, "--server-name", "other.example")
    assert "certificate is not valid for 'other.example'" in ran.stderr


def test_plaintext_to_a_server_with_tls_says_so(target: str) -> None:
    assert "the server speaks TLS" in run("health", target).stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--plaintext", "--tls"], "--plaintext and --tls exclude each other: give one of them"),
        (["--plaintext", "--insecure"], "--plaintext and --insecure exclude each other"),
        (["--token", "x"], "--token is not sent in plaintext: give --tls, or --plaintext"),
        (["--tls", "--token", "@/nowhere"], "--token @/nowhere: No such file or directory"),
        (["--cacert", "/nowhere"], "No such file or directory: '/nowhere'"),
        (["--cert", "/nowhere"], "(--cert ...) needs --key too: they belong together"),
    ],
)
def test_mistakes(arguments: list[str], told: str) -> None:
    ran = run("health", "localhost:1", *arguments)
    assert ran.status == 2
    assert told in " ".join(ran.stderr.split())


def test_a_token_in_plaintext_where_that_is_asked_for(proto: Path) -> None:
    with gyr.blocking.Server([Calls(unary=tell)]) as server:
        target = f"localhost:{server.listen('127.0.0.1:0')}"
        arguments = ("--plaintext", "--token", "t", "--proto", proto)
        ran = run("call", target, "tests.Calls/Unary", "-d", QUOTES, *arguments)
    assert (ran.status, ran.stderr.strip()) == (74, "Error: ABORTED: insecure Bearer t")


# ---------------------------------------------------------------------- gyr serve

APP = """
from tests.cli.test_security import tell
from tests.call.service import Calls
import gyrfalcon as gyr

def make():
    return [Calls(unary=tell), gyr.services.Health()]

server = gyr.Server([gyr.services.Health()])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secure_app.py").write_text(APP, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("workers", [(), ("--workers", "1")], ids=["alone", "workers"])
def test_serve_with_mutual_tls(
    folder: Path, certificates: Certificates, workers: tuple[str, ...]
) -> None:
    with tempfile.TemporaryDirectory() as short:
        address = f"unix:{short}/s"
        tls = ("--cert", certificates.server_cert, "--key", certificates.server_key)
        clients = ("--client-ca", certificates.ca, "--require-client")
        arguments = ("serve", "secure_app:make", "--app-dir", folder, "-b", address)
        with start(*arguments, *workers, *tls, *clients) as process:
            try:
                own = ("--cert", certificates.client_cert, "--key", certificates.client_key)
                trust = ("--cacert", certificates.ca, "--wait-for-ready", "--timeout", "30")
                served = run("health", address, *trust, *own)
                refused = run("health", address, "--cacert", certificates.ca)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate()
    assert served == Ran(0, "SERVING\n", "")
    assert (refused.status, refused.stdout) == (64 + 14, "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--cert", "x"], "--key is missing: TLS needs --cert and --key"),
        (["--client-ca", "x"], "--cert is missing: TLS needs --cert and --key"),
        (["--cert", "x", "--key", "y", "--require-client"], "--require-client needs --client-ca"),
        (["--cert", "/nowhere", "--key", "/nowhere"], "No such file or directory: '/nowhere'"),
    ],
)
def test_mistakes_of_serve(
    folder: Path, arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    ran = run("serve", "secure_app:make", "--app-dir", folder, *arguments)
    sys.modules.pop("secure_app", None)
    assert ran.status == 2
    assert told in " ".join(ran.stderr.split())
