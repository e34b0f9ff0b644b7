"""Latencies, counted in buckets that grow with them: bounded memory, and under 0.4 % of error."""

from __future__ import annotations

from collections.abc import Iterator

# Of a latency in nanoseconds the first eight bits count.
_BITS = 8


class Latencies:
    """How many latencies of each length there were. All times are nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.min = 0
        self.max = 0
        # At most 2**(_BITS - 1) for each power of two.
        self._buckets: dict[tuple[int, int], int] = {}

    def record(self, latency: int) -> None:
        """Count one."""
        shift = max(latency.bit_length() - _BITS, 0)
        bucket = (shift, latency >> shift)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        if latency > self.max:
            self.max = latency
        if latency < self.min or self.count == 0:
            self.min = latency
        self.count += 1
        self.total += latency

    @property
    def mean(self) -> float:
        """The mean, 0 without any."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> int:
        """The latency that `percent` of all are not above; 0 without any."""
        wanted = round(percent * self.count / 100, 6)  # 99.9 % of 5,000 are 4,995, in floats too
        seen = 0
        for latency, count in self._sorted():
            seen += count
            if seen >= wanted:
                return min(max(latency, self.min), self.max)
        return self.max

    def histogram(self, rows: int) -> list[tuple[int, int, int]]:
        """(from, to, count) for at most `rows` spans, each longer than the one before by the same
        factor; the last includes its end. Empty without any."""
        if self.count == 0:
            return []
        low = max(self.min, 1)
        factor = (self.max / low) ** (1 / rows) if self.max > low else 1.0
        if factor < 1.0001:
            return [(self.min, self.max, self.count)]
        ends = [round(low * factor**row) for row in range(1, rows)] + [self.max]
        spans: list[tuple[int, int, int]] = []
        found = list(self._sorted())
        start = self.min
        for end in ends:
            last = end == self.max
            inside = [count for at, count in found if at < end or last]
            del found[: len(inside)]
            spans.append((start, end, sum(inside)))
            start = end
        return spans

    def _sorted(self) -> Iterator[tuple[int, int]]:
        """(the middle of a bucket, how many are in it), the shortest first."""
        for shift, bits in sorted(self._buckets, key=lambda bucket: bucket[1] << bucket[0]):
            yield (bits << shift) + ((1 << shift) >> 1), self._buckets[shift, bits]
