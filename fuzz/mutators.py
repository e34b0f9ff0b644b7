"""Mutation by frames: a plain mutator spends its time on lengths that no longer fit."""

from __future__ import annotations

import random
from collections.abc import Callable

from fuzz.frames import CONTINUATION, PREFACE, Frame, split

Mutate = Callable[[bytes, int], bytes]
"""The engine's own mutation: of these bytes, to at most so many."""

FLAGS = (0, 1, 4, 5, 8, 9, 12, 13, 32, 37, 44, 255)
STREAMS = (0, 1, 2, 3, 5, 7, 9, 2**31 - 1)


class FrameMutator:
    """Mutates one byte of options, then frames; half of the time the bytes as they are."""

    def __init__(self, mutate: Mutate) -> None:
        self._mutate = mutate

    def __call__(self, data: bytes, max_size: int, seed: int) -> bytes:
        dice = random.Random(seed)
        if len(data) < 2 or dice.random() < 0.4:
            return self._mutate(data, max_size)
        options, body = data[:1], data[1:]
        preface = PREFACE if body.startswith(PREFACE) else b""
        frames, rest = split(body[len(preface) :])
        if not frames:
            return self._mutate(data, max_size)
        for _ in range(dice.choice((1, 1, 1, 2, 4))):
            self._mutate_one(dice, frames)
        if dice.random() < 0.1:
            options = bytes([dice.randrange(256)])
        return (options + preface + b"".join(map(bytes, frames)) + rest)[:max_size]

    def _mutate_one(self, dice: random.Random, frames: list[Frame]) -> None:
        if not frames:
            return
        at = dice.randrange(len(frames))
        one = frames[at]
        kind = dice.randrange(9)
        if kind == 0:
            del frames[at]
        elif kind == 1:
            frames.insert(dice.randrange(len(frames) + 1), one)
        elif kind == 2:
            frames.insert(dice.randrange(len(frames) + 1), frames.pop(at))
        elif kind == 3:
            frames[at] = one._replace(stream=dice.choice(STREAMS))
        elif kind == 4:
            frames[at] = one._replace(flags=dice.choice(FLAGS))
        elif kind == 5:
            frames[at] = one._replace(kind=dice.randrange(11))
        elif kind == 6 and len(one.payload) > 1:
            # One frame becomes two; a header block goes on in a CONTINUATION.
            cut = dice.randrange(1, len(one.payload))
            more = CONTINUATION if one.kind in (1, 5, 9) else one.kind
            frames[at : at + 1] = [
                one._replace(payload=one.payload[:cut], flags=one.flags & ~5),
                one._replace(payload=one.payload[cut:], kind=more),
            ]
        else:
            payload = self._mutate(one.payload or b"\0", len(one.payload) + 32)
            frames[at] = one._replace(payload=payload)
