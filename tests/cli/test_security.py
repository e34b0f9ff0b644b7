"""`gyr` with TLS and with tokens, against a server that wants them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

import gyrfalcon as gyr
from tests.call.service import Calls
from tests.certificates import Certificates
from tests.cli.running import Ran, run

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
