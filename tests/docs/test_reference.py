"""The reference names everything that is public, and says the defaults that the code has."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import gyrfalcon as gyr
from gyrfalcon import blocking, policy, services, stats, telemetry, testing, workers
from tests.docs.pages import ROOT

REFERENCE = ROOT / "docs" / "reference"
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`|^#+ [^\n]*$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", re.MULTILINE)


_CALL = {name for name in dir(blocking.Call) if not name.startswith("_")}

# What a page leaves to another, or keeps for the library itself.
UNEXPLAINED: dict[type, set[str]] = {
    blocking.Channel: {"bind", "channel", "drop", "renew", "run", "shut", "start_loop"},
    blocking.QueuedCall: _CALL,
}


def read(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def code_of(text: str) -> set[str]:
    """The identifiers in a page's headings and in its code, inline and in blocks."""
    return {name for code in CODE.findall(text) for name in re.findall(r"\w+", code)}


def write(default: object) -> str:
    """A default, as the tables have it."""
    if default is None or isinstance(default, bool):
        return f"`{default}`"
    if default == ():
        return "`()`"
    if isinstance(default, type):
        return f"`{default.__name__}`"
    if isinstance(default, int) and default % 2**20 == 0:
        return f"{default // 2**20} MiB"
    if isinstance(default, int) and default % 2**10 == 0:
        return f"{default // 2**10} KiB"
    return f"{default:,g}"


@pytest.mark.parametrize(
    "module",
    [gyr, blocking, policy, services, stats, telemetry, testing, workers],
    ids=lambda module: module.__name__,
)
def test_every_exported_name_is_explained(module: Any) -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in REFERENCE.glob("*.md"))
    assert set(module.__all__) - code_of(pages) == set()


@pytest.mark.parametrize(
    ("kind", "page", "positional"),
    [(gyr.Server, "server.md", "services"), (gyr.Channel, "channel.md", "target")],
)
def test_options_stand_in_a_table_with_their_defaults(
    kind: type, page: str, positional: str
) -> None:
    parameters = dict(inspect.signature(kind).parameters)
    del parameters[positional]
    expected = {name: write(parameter.default) for name, parameter in parameters.items()}
    table = read(page).partition("| option |")[2].partition("\n\n")[0]
    actual = {name: default.partition(":")[0] for name, default in OPTION.findall(table)}
    assert actual == expected


@pytest.mark.parametrize("kind", [gyr.Server, gyr.Channel, blocking.QueueServer])
def test_every_limit_has_a_line(kind: type) -> None:
    not_limits = {"services", "target", "compression", "user_agent", "authority", "balancer"}
    not_limits |= {"access_log", "codec", "interceptors", "network", "options", "propagate"}
    not_limits |= {"resolvers", "tls", "credentials", "allow_plaintext_credentials"}
    names = set(inspect.signature(kind).parameters) - not_limits
    assert names - code_of(read("limits.md")) == set()


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (gyr.ServerContext, "server.md"),
        (gyr.Interceptor, "interceptors.md"),
        (gyr.InterceptedCall, "interceptors.md"),
        (gyr.Outcome, "interceptors.md"),
        (gyr.Retry, "interceptors.md"),
        (blocking.Channel, "blocking.md"),
        (blocking.Call, "blocking.md"),
        (blocking.UnaryStreamCall, "blocking.md"),
        (blocking.StreamStreamCall, "blocking.md"),
        (blocking.Future, "blocking.md"),
        (blocking.StreamUnaryFuture, "blocking.md"),
        (blocking.UnaryUnary, "blocking.md"),
        (blocking.StreamUnary, "blocking.md"),
        (blocking.QueuedCall, "completion-queue.md"),
        (blocking.Server, "blocking-server.md"),
        (blocking.Finish, "blocking-server.md"),
        (blocking.CompletionQueue, "completion-queue.md"),
        (blocking.Event, "completion-queue.md"),
        (blocking.Operation, "completion-queue.md"),
        (blocking.QueueServer, "queue-server.md"),
        (blocking.QueueCall, "queue-server.md"),
        (gyr.UnaryUnaryCall, "calls.md"),
        (gyr.UnaryStreamCall, "calls.md"),
        (gyr.StreamUnaryCall, "calls.md"),
        (gyr.StreamStreamCall, "calls.md"),
        (gyr.UnaryUnary, "calls.md"),
        (gyr.Metadata, "metadata.md"),
        (gyr.RpcError, "errors.md"),
        (gyr.Status, "errors.md"),
        (gyr.Method, "codecs.md"),
        (gyr.Codec, "codecs.md"),
        (gyr.Compression, "compression.md"),
        (gyr.ServerObserver, "server.md"),
        (stats.ServerStats, "stats.md"),
        (stats.ChannelStats, "stats.md"),
        (stats.SubchannelStats, "stats.md"),
        (stats.CallStats, "stats.md"),
        (stats.ConnectionStats, "stats.md"),
        (stats.TlsStats, "stats.md"),
        (gyr.ServerTLS, "tls.md"),
        (gyr.ClientTLS, "tls.md"),
        (gyr.BearerToken, "tls.md"),
        (gyr.CallInfo, "tls.md"),
        (stats.ListenerStats, "stats.md"),
        (gyr.Clock, "testing.md"),
        (gyr.ManualClock, "testing.md"),
        (gyr.Network, "testing.md"),
        (testing.MemoryNetwork, "testing.md"),
        (testing.Faults, "testing.md"),
        (testing.Serving, "testing.md"),
    ],
)
def test_every_attribute_is_explained(kind: type, page: str) -> None:
    inherited = set(dir(Exception)) | UNEXPLAINED.get(kind, set())
    names = {name for name in dir(kind) if not name.startswith("_")} - inherited
    assert names - code_of(read(page)) == set()


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("blocking-server.md", "Server ServerOptions callback Finish"),
        ("completion-queue.md", "CompletionQueue Event Operation QueuedCall"),
        ("queue-server.md", "QueueServer QueueCall"),
    ],
)
def test_the_names_for_servers_of_threads_and_queues_are_explained(page: str, names: str) -> None:
    exported = set(names.split())
    assert exported <= set(blocking.__all__)
    assert exported - code_of(read(page)) == set()


def test_every_status_code_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (?:`(\w+)`)? ?\|", read("errors.md"), re.MULTILINE)
    expected = [
        (str(int(code)), code.name, "" if code == 0 else type(gyr.RpcError(code=code)).__name__)
        for code in gyr.StatusCode
    ]
    assert rows == expected
