"""A network namespace for the servers of a soak, and what disturbs the way there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.endurance.programs import ROOT
from tests.endurance.soak.bridge import switch_offloads_off

# Of RFC 2544: for measurements, never routed. Each process has four addresses of its own.
NETWORK = "198.18.{}.{}"
NAME = "soak{}"
BAD_WEATHER = {"loss": 0.02, "delay": 0.005, "jitter": 0.003, "double": 0.002, "reorder": 0.01}
END_S = 10.0


def attempt(*command: str) -> str | None:
    """Run it; None when it succeeded, else what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return None if done.returncode == 0 else (done.stderr.strip() or f"{command[0]} failed")


def attempt_all(*commands: list[str]) -> str | None:
    """Run them until one fails; None when all succeeded."""
    for command in commands:
        refusal = attempt(*command)
        if refusal is not None:
            return refusal
    return None


class Bridge:
    """The process of `bridge.py`."""

    def __init__(self, prefix: list[str], interfaces: tuple[str, str]) -> None:
        module = [sys.executable, "-m", "tests.endurance.soak.bridge"]
        self._process = subprocess.Popen(
            [*prefix, *module, *interfaces], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            self.counts = self._hear()
        except BaseException:
            self.close()
            raise

    def _hear(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            said = self._process.stderr.read().splitlines() or ["it ended"]
            raise RuntimeError(f"the bridge: {said[-1]}")
        found: dict[str, int] = json.loads(line)
        return found

    def set(self, **weather: float) -> dict[str, int]:
        """What the weather is from now on; what it leaves out is calm. The counts until then."""
        assert self._process.stdin is not None
        # A bridge that is gone has said why.
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(weather) + "\n")
            self._process.stdin.flush()
        self.counts = self._hear()
        return self.counts

    def close(self) -> None:
        with self._process as process:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


class Place:
    """Where the servers are: here, or in a namespace behind virtual interfaces. Packets are lost by
    netem on one of them, or where the kernel has none by a bridge in user space, between two pairs.
    """

    def __init__(self, *, try_netem: bool = True) -> None:
        self.host = "127.0.0.1"
        self.prefix: list[str] = []
        """what starts a command where the servers are"""
        self.notes: list[str] = []
        """what this machine does not let a soak do"""
        self.has_netem = False
        self.in_namespace = False
        self.bridge: Bridge | None = None
        self._try_netem = try_netem
        name = NAME.format(os.getpid())
        self._namespace, self._outside, self._inside = name, f"{name}o", f"{name}i"
        # The bridge's own namespace, and its two interfaces there.
        self._between, self._outer, self._inner = f"{name}m", f"{name}p", f"{name}q"
        block, first = os.getpid() // 64 % 256, os.getpid() % 64 * 4
        self._addresses = NETWORK.format(block, first + 1), NETWORK.format(block, first + 2)

    # ------------------------------------------------------------------ making it

    def open(self) -> None:
        sweep()
        refusal = self._make()
        if refusal is not None:
            self.close()
            self.notes.append(f"packet loss: not in this run: {refusal}")
            return
        self.in_namespace = True
        self.host = self._addresses[1]
        self.prefix = ["ip", "netns", "exec", self._namespace]

    def _make(self) -> str | None:
        if shutil.which("ip") is None:
            return "there is no program ip: install iproute2"
        refusal = attempt("ip", "netns", "add", self._namespace)
        if refusal is not None:
            return f"no network namespace: {refusal}"
        no_netem = self._join_by_netem() if self._try_netem else "not asked for"
        self.has_netem = no_netem is None
        if no_netem is None:
            self.calm()
            return None
        attempt("ip", "link", "delete", self._outside)
        no_bridge = self._join_by_bridge()
        return None if no_bridge is None else f"no netem ({no_netem}), no bridge ({no_bridge})"

    def _pair(self, one: str, other: str) -> list[str]:
        return ["ip", "link", "add", one, "type", "veth", "peer", "name", other]

    def _set_up(self) -> str | None:
        here, there = self._addresses
        inside = ["ip", "-n", self._namespace]
        return attempt_all(
            ["ip", "link", "set", self._inside, "netns", self._namespace],
            ["ip", "address", "add", f"{here}/30", "dev", self._outside],
            ["ip", "link", "set", self._outside, "up"],
            [*inside, "address", "add", f"{there}/30", "dev", self._inside],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "link", "set", self._inside, "up"],
        )

    def _join_by_netem(self) -> str | None:
        refusal = attempt(*self._pair(self._outside, self._inside)) or self._set_up()
        return self._netem("delay", "1ms") if refusal is None else refusal

    def _join_by_bridge(self) -> str | None:
        refusal = attempt_all(
            ["ip", "netns", "add", self._between],
            self._pair(self._outside, self._outer),
            self._pair(self._inside, self._inner),
            ["ip", "link", "set", self._outer, "netns", self._between],
            ["ip", "link", "set", self._inner, "netns", self._between],
        )
        if refusal is not None:
            return refusal
        prefix = ["ip", "netns", "exec", self._between]
        try:
            # As long as both are here: an interface takes its settings along.
            switch_offloads_off(self._outside)
            switch_offloads_off(self._inside)
            self.bridge = Bridge(prefix, (self._outer, self._inner))
        except (OSError, RuntimeError) as error:
            return str(error)
        between = ["ip", "-n", self._between, "link", "set"]
        refusal = attempt_all([*between, self._outer, "up"], [*between, self._inner, "up"])
        return refusal or self._set_up()

    def close(self) -> None:
        """Remove it all."""
        if self.bridge is not None:
            self.bridge.close()
            self.bridge = None
        remove(NAME.format(os.getpid()))

    # ------------------------------------------------------------------ disturbing it

    def _netem(self, *how: str) -> str | None:
        return attempt("tc", "qdisc", "replace", "dev", self._outside, "root", "netem", *how)

    def lose_packets(self) -> None:
        """Lose some packets, delay all: until `calm`."""
        if self.has_netem:
            self._netem("delay", "5ms", "3ms", "loss", "2%", "duplicate", "0.2%")
        elif self.bridge is not None:
            self.bridge.set(**BAD_WEATHER)

    def calm(self) -> None:
        """Carry every packet again."""
        if self.has_netem:
            attempt("tc", "qdisc", "delete", "dev", self._outside, "root")
        elif self.bridge is not None:
            self.bridge.set()

    def packets(self) -> dict[str, int]:
        """What became of them, where a bridge has counted."""
        return {} if self.bridge is None else self.bridge.set()


def remove(name: str) -> None:
    """What a run of that name has made; a pair goes with either of its interfaces."""
    for suffix in "oi":
        attempt("ip", "link", "delete", f"{name}{suffix}")
    for suffix in ("", "m"):
        attempt("ip", "netns", "delete", f"{name}{suffix}")


def sweep() -> None:
    """Remove what runs that were killed have left."""
    for found in Path("/run/netns").glob(NAME.format("*[0-9]")):
        if not Path("/proc", found.name.removeprefix(NAME.format(""))).exists():
            remove(found.name)


@contextmanager
def place(*, try_netem: bool = True) -> Iterator[Place]:
    found = Place(try_netem=try_netem)
    try:
        found.open()
        yield found
    finally:
        found.close()
