"""One family against a server: what happened, and what is wrong with that."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import gyrfalcon as gyr
from tests.abuse.attacker import Attacker, attacking
from tests.abuse.families import MIB, Code, Family, data, request_head
from tests.abuse.target import STREAM_LIMIT, Process
from tests.core.wires import END_STREAM, FrameType, message

# The connection on which the verdict is asked for last, after everything that was sent before.
LAST_STREAM = 2_000_001


@dataclass
class Verdict:
    """What one attack did."""

    family: str
    goaway: str | None = None
    resets: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    most_handlers: int = 0
    growth: int = 0
    """Bytes of resident memory, at the peak."""
    left: int = 0
    """Bytes of it when the attacker was gone."""
    lost: bool = False
    """Whether the connection was reset before its GOAWAY was read."""
    faults: list[str] = field(default_factory=list)


def attack(target: Process, family: Family) -> Verdict:
    """Run one attack on one connection, and judge it."""
    verdict = Verdict(family.name)
    before = target.figures("reset")
    with attacking(target.port, reads=family.reads, settings=family.settings) as attacker:
        attacker.send_all(family.chunks())
        if family.limits:
            attacker.finish()
        else:
            attacker.round_trip()
            if family.handlers:
                target.wait_for_handlers(family.handlers)
            while len(attacker.statuses) < family.calls and attacker.wait():
                pass
            verdict.statuses = {
                gyr.StatusCode(int(status)).name: count
                for status, count in Counter(attacker.statuses.values()).items()
            }
            serve_another(attacker, verdict)
        during = target.figures()
        note(verdict, family, attacker)
    after = target.settled()
    verdict.limits = {
        name: count - before["limits"].get(name, 0)
        for name, count in after["limits"].items()
        if count != before["limits"].get(name, 0)
    }
    verdict.most_handlers = after["most"]
    verdict.growth = during["growth"]
    verdict.left = after["resident"] - before["resident"]
    judge(verdict, family)
    return verdict


def serve_another(attacker: Attacker, verdict: Verdict) -> None:
    """Another caller behind the same proxy is served on the same connection."""
    attacker.send(request_head(LAST_STREAM) + data(LAST_STREAM, message(b""), END_STREAM))
    window = [one for one in attacker.all_frames() if one[0] is FrameType.GOAWAY]
    if window:
        verdict.faults.append("the connection did not live")
    # Its reply has a body of five bytes, which a window of nothing holds back; its head comes.
    while not any(
        number == LAST_STREAM and kind is FrameType.HEADERS
        for kind, _, number, _ in attacker.all_frames()
    ):
        if not attacker.wait():
            verdict.faults.append("another call on the connection was not served")
            return


def note(verdict: Verdict, family: Family, attacker: Attacker) -> None:
    if attacker.goaway is not None:
        code, data = attacker.goaway
        verdict.goaway = f"{Code(code).name} {data.decode('ascii', 'backslashreplace')}".strip()
    verdict.lost = attacker.cut_off and verdict.goaway is None
    verdict.resets = {
        Code(code).name: count for code, count in Counter(attacker.resets.values()).items()
    }


def judge(verdict: Verdict, family: Family) -> None:
    faults = verdict.faults
    if family.limits:
        told = {f"ENHANCE_YOUR_CALM {name}" for name in family.limits}
        # A close with bytes that were not read resets the connection, and what the peer had not
        # read is lost with it: of one that does not read mostly, of another once in thousands.
        if verdict.goaway not in told and not verdict.lost:
            faults.append(f"GOAWAY: {verdict.goaway}")
        if not family.limits & verdict.limits.keys():
            faults.append(f"no counter of {sorted(family.limits)}")
    if missing := family.counts - verdict.limits.keys():
        faults.append(f"no counter of {sorted(missing)}")
    if family.resets is not None and family.resets.name not in verdict.resets:
        faults.append(f"no stream was reset with {family.resets.name}")
    if family.status is not None and verdict.statuses != {family.status.name: family.calls}:
        faults.append(f"the calls ended with {verdict.statuses}")
    if verdict.most_handlers > STREAM_LIMIT:
        faults.append(f"{verdict.most_handlers} handlers ran")
    if verdict.growth > family.most_bytes:
        faults.append(f"{verdict.growth / MIB:.1f} MiB held")
    if verdict.left > family.most_bytes:
        faults.append(f"{verdict.left / MIB:.1f} MiB kept")
