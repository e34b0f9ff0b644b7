"""A network namespace for the servers of a soak, and what disturbs the way there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

# Of RFC 2544: for measurements, never routed. Each process has four addresses of its own.
NETWORK = "198.18.{}.{}"


def attempt(*command: str) -> str | None:
    """Run it; None when it succeeded, else what it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    return None if done.returncode == 0 else (done.stderr.strip() or f"{command[0]} failed")


class Place:
    """Where the servers are: here, or in a namespace behind a pair of virtual interfaces."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.prefix: list[str] = []
        """what starts a command where the servers are"""
        self.notes: list[str] = []
        """what this machine does not let a soak do"""
        self.has_netem = False
        self.in_namespace = False
        name = f"soak{os.getpid()}"
        self._namespace, self._outside, self._inside = name, f"{name}o", f"{name}i"
        block, first = os.getpid() // 64 % 256, os.getpid() % 64 * 4
        self._addresses = NETWORK.format(block, first + 1), NETWORK.format(block, first + 2)

    # ------------------------------------------------------------------ making it

    def open(self) -> None:
        refusal = self._make()
        if refusal is not None:
            self.close()
            self.notes.append(f"packet loss: not in this run, no network namespace: {refusal}")
            return
        self.in_namespace = True
        self.host = self._addresses[1]
        self.prefix = ["ip", "netns", "exec", self._namespace]
        refusal = self._netem("delay", "1ms")
        self.has_netem = refusal is None
        self.calm()
        if refusal is not None:
            self.notes.append(
                f"netem: not in this run ({refusal}); packets are lost while the link is down,"
                " delayed by the relay"
            )

    def _make(self) -> str | None:
        if shutil.which("ip") is None:
            return "there is no program ip: install iproute2"
        inside = ["ip", "-n", self._namespace]
        here, there = self._addresses
        pair = ["ip", "link", "add", self._outside, "type", "veth", "peer", "name", self._inside]
        for command in (
            ["ip", "netns", "add", self._namespace],
            [*pair, "netns", self._namespace],
            ["ip", "address", "add", f"{here}/30", "dev", self._outside],
            ["ip", "link", "set", self._outside, "up"],
            [*inside, "address", "add", f"{there}/30", "dev", self._inside],
            [*inside, "link", "set", "lo", "up"],
            [*inside, "link", "set", self._inside, "up"],
        ):
            refusal = attempt(*command)
            if refusal is not None:
                return refusal
        return None

    def close(self) -> None:
        """Remove it all."""
        attempt("ip", "link", "delete", self._outside)
        attempt("ip", "netns", "delete", self._namespace)

    # ------------------------------------------------------------------ disturbing it

    def _netem(self, *how: str) -> str | None:
        return attempt("tc", "qdisc", "replace", "dev", self._outside, "root", "netem", *how)

    def lose_packets(self) -> None:
        """Lose some packets both ways, delay all: until `calm`."""
        if self.has_netem:
            self._netem("delay", "5ms", "3ms", "loss", "2%")
        elif self.in_namespace:
            attempt("ip", "-n", self._namespace, "link", "set", self._inside, "down")

    def calm(self) -> None:
        """Carry every packet again."""
        attempt("tc", "qdisc", "delete", "dev", self._outside, "root")
        if self.in_namespace:
            attempt("ip", "-n", self._namespace, "link", "set", self._inside, "up")


@contextmanager
def place() -> Iterator[Place]:
    found = Place()
    try:
        found.open()
        yield found
    finally:
        found.close()
