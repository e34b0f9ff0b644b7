"""The calls of a soak: chosen by chance, each with the answer that it has to get."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from tests.endurance.soak.contract import (
    EXPECTED_FAILURES,
    FAIL,
    PAYLOADS,
    WAIT,
    answer,
    join,
    repeat,
)

# Kinds of end: most calls are let be, some are cancelled, some fail, some never get an answer.
ENDS = ("answered",) * 12 + ("cancelled", "failing", "expiring")
LONGEST_S = 20.0
"""the deadline of calls that are to be answered: longer than any fault"""
SOON_S = 0.02
MESSAGES = 5


class Plan(NamedTuple):
    """One call."""

    pattern: str
    end: str
    requests: Sequence[bytes]
    replies: Sequence[bytes]
    timeout: float
    key: str


def plan(dice: random.Random) -> Plan:
    pattern = dice.choice(("unary", "server_stream", "client_stream", "bidi"))
    end = dice.choice(ENDS)
    many = pattern in ("client_stream", "bidi")
    payload = os.urandom(dice.choice(PAYLOADS))
    if end in ("failing", "expiring") and not many:
        payload = (FAIL if end == "failing" else WAIT) + payload
    elif end != "cancelled":
        end = "answered" if end == "failing" else end
    requests = [payload] * (dice.randrange(MESSAGES) if many else 1)
    if pattern == "unary":
        replies = [answer(payload)]
    elif pattern == "server_stream":
        replies = list(repeat(payload))
    elif pattern == "client_stream":
        replies = [join(requests)]
    else:
        replies = [answer(one, number) for number, one in enumerate(requests)]
    timeout = SOON_S if end == "expiring" else LONGEST_S
    return Plan(pattern, end, requests, replies, timeout, f"{dice.getrandbits(40):x}")


class Tally:
    """How the calls of a process ended, and which had another answer than they should."""

    def __init__(self) -> None:
        self.started = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.wrong_count = 0

    def count(
        self, one: Plan, where: str, code: str, replies: Sequence[bytes], key: object
    ) -> None:
        """A call is over: `code` by name, the replies that came, the trailing metadata's key."""
        self.outcomes[code] += 1
        came = list(replies)
        if code == "OK":
            if one.end == "failing":
                self.complain(one, where, "was answered, but was to fail")
            elif came != list(one.replies):
                self.complain(one, where, f"has other replies: {sizes(came)}")
            elif key != one.key:
                self.complain(one, where, f"has another call's metadata: {key!r}")
        elif code == "NOT_FOUND":
            if one.end != "failing":
                self.complain(one, where, "failed, and was not asked to")
        elif code not in EXPECTED_FAILURES:
            self.complain(one, where, f"ended {code}")
        if code != "OK" and came != list(one.replies)[: len(came)]:
            self.complain(one, where, f"had other replies before {code}: {sizes(came)}")

    def complain(self, one: Plan, where: str, what: str) -> None:
        self.wrong_count += 1
        if len(self.wrong) < 20:
            self.wrong.append(
                f"{one.pattern} to {where}, to be {one.end}, {sizes(one.requests)}: {what}"
            )

    def figures(self) -> dict[str, object]:
        return {
            "started": self.started,
            "outcomes": dict(self.outcomes),
            "wrong": self.wrong_count,
            "wrong_texts": self.wrong,
        }


def sizes(messages: Sequence[bytes]) -> str:
    return f"{len(messages)} messages of {[len(one) for one in messages[:8]]} bytes"
