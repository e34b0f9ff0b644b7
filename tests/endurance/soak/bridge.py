"""A bridge between two network interfaces which loses, delays, doubles and reorders packets.

    python -m tests.endurance.soak.bridge INTERFACE INTERFACE

What netem does, for kernels without it. Each line of standard input is the weather from now on, as
JSON, such as {"loss": 0.02, "delay": 0.005}: what it leaves out is calm. Each is answered by a line
with the counts so far; the first such line is written when the bridge is open. It ends when its
standard input does. `network.py` starts it in a namespace where nothing but the two interfaces is.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import heapq
import itertools
import json
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# linux/if_packet.h, linux/if_ether.h, linux/ethtool.h, linux/sockios.h
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_IGNORE_OUTGOING = 1, 6, 23
PACKET_MR_PROMISC = 1
ETH_P_ALL = 3
SIOCETHTOOL = 0x8946
OFFLOADS = {"checksums": 0x17, "TSO": 0x1F, "GSO": 0x24, "GRO": 0x2C}

LONGEST_FRAME = 1 << 16
BUFFER_BYTES = 8 << 20
AT_ONCE = 64
"""frames from one side before the other has its turn"""


@dataclass
class Weather:
    """What becomes of packets, each way: shares of them, and seconds."""

    loss: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0
    """more or less than the delay, at most"""
    double: float = 0.0
    reorder: float = 0.0
    """overtake those that are delayed"""


@dataclass
class Counts:
    """What became of packets."""

    carried: int = 0
    lost: int = 0
    delayed: int = 0
    doubled: int = 0
    overtook: int = 0
    overflowed: int = 0
    """lost too, because the bridge or the interface was too slow for them"""


def switch_offloads_off(interface: str) -> None:
    """Have the kernel send whole checksums and frames that fit: to virtual interfaces it leaves
    both to the receiver, and the note that says so does not go through a raw socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for command in OFFLOADS.values():
            value = array.array("I", [command, 0])
            request = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
            fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def open_side(interface: str) -> socket.socket:
    """A socket for every frame that comes in by the interface, and none that goes out."""
    # It has no protocol until it is bound: no frame of another interface gets in.
    side = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    side.setblocking(False)
    # Else it would read what the bridge sends, and send that back.
    side.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    for forced, ordinary in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):
        try:
            side.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except PermissionError:
            side.setsockopt(socket.SOL_SOCKET, ordinary, BUFFER_BYTES)
    side.bind((interface, ETH_P_ALL))
    promiscuous = struct.pack("iHH8x", socket.if_nametoindex(interface), PACKET_MR_PROMISC, 0)
    side.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
    return side


def silence(interface: str) -> None:
    """Have the kernel say nothing of its own there: without an address that is IPv6 alone."""
    with contextlib.suppress(OSError):
        Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").write_text("1")


class Bridge:
    """Carries frames between two sides, as the weather is."""

    def __init__(self, sides: tuple[socket.socket, socket.socket]) -> None:
        self._sides = sides
        self._weather = Weather()
        self._counts = Counts()
        self._dice = random.Random()
        self._frame = bytearray(LONGEST_FRAME)
        # When each is due, a number that keeps their order, where to, and the frame.
        self._late: list[tuple[float, int, socket.socket, bytes]] = []
        self._numbers = itertools.count()
        # A link keeps the order of its packets, however long each of them takes.
        self._last_due = dict.fromkeys(sides, 0.0)

    def run(self) -> None:
        """Until standard input ends."""
        first, second = self._sides
        poll = select.poll()
        for readable in (0, first, second):
            poll.register(readable, select.POLLIN)
        ways = {first.fileno(): (first, second), second.fileno(): (second, first)}
        commands = b""
        self.tell()
        while True:
            wait = None
            if self._late:
                wait = max(self._late[0][0] - time.monotonic(), 0.0) * 1000
            for number, _ in poll.poll(wait):
                if number in ways:
                    self.carry(*ways[number])
                    continue
                said = os.read(0, LONGEST_FRAME)
                if not said:
                    return
                *lines, commands = (commands + said).split(b"\n")
                for line in lines:
                    self._weather = Weather(**json.loads(line))
                    self.tell()
            if self._late:
                self.carry_late()

    def tell(self) -> None:
        for side in self._sides:
            # Reading them sets them to zero.
            statistics = side.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self._counts.overflowed += struct.unpack("II", statistics)[1]
        sys.stdout.write(json.dumps(asdict(self._counts)) + "\n")
        sys.stdout.flush()

    def carry(self, source: socket.socket, sink: socket.socket) -> None:
        """Carry what has come, but not for ever."""
        frame = memoryview(self._frame)
        calm = self._weather == Weather()
        for _ in range(AT_ONCE):
            try:
                size = source.recv_into(self._frame)
            except OSError:
                # Nothing more; or the interface is not up yet, or gone already.
                return
            if calm:
                self.send(sink, frame[:size])
            else:
                self.disturb(sink, bytes(frame[:size]))

    def disturb(self, sink: socket.socket, frame: bytes) -> None:
        weather, dice = self._weather, self._dice
        if dice.random() < weather.loss:
            self._counts.lost += 1
            return
        copies = 1
        if dice.random() < weather.double:
            self._counts.doubled += 1
            copies = 2
        for _ in range(copies):
            if not weather.delay:
                self.send(sink, frame)
            elif dice.random() < weather.reorder:
                self._counts.overtook += 1
                self.send(sink, frame)
            else:
                self._counts.delayed += 1
                takes = weather.delay + dice.uniform(-weather.jitter, weather.jitter)
                due = max(time.monotonic() + takes, self._last_due[sink])
                self._last_due[sink] = due
                heapq.heappush(self._late, (due, next(self._numbers), sink, frame))

    def carry_late(self) -> None:
        now = time.monotonic()
        while self._late and self._late[0][0] <= now:
            _, _, sink, frame = heapq.heappop(self._late)
            self.send(sink, frame)

    def send(self, sink: socket.socket, frame: bytes | memoryview) -> None:
        try:
            sink.send(frame)
        except OSError:
            # Its queue is full, or the interface is not up: a link loses packets then.
            self._counts.overflowed += 1
        else:
            self._counts.carried += 1


def main() -> None:
    # Ctrl-C is for whoever started this, and ends it in its turn.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    first, second = sys.argv[1:]
    for interface in (first, second):
        silence(interface)
    with open_side(first) as one, open_side(second) as other:
        Bridge((one, other)).run()


if __name__ == "__main__":
    main()
