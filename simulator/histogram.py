"""Latency histograms in microseconds: recorded cheaply, merged exactly, encoded as HdrHistogram V2.

Pure. Counts sit in the bucket layout of HdrHistogram (1 us to 120 s, three significant digits), filled in
bulk with numpy; single values wait in a plain buffer. Refuses to average: percentiles of several processes
come from merged counts.
"""

from array import array
from collections.abc import Iterable

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from .result import Latency

LOWEST_US = 1
HIGHEST_US = 120_000_000
DIGITS = 3

_SUB_BUCKETS = 2048
_HALF = 1024
_HALF_MAGNITUDE = 10
_BUFFER = 65_536
MAX_CELLS = 2**15
"""More than any bucket's number."""

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


class Histogram:
    """Counts of latencies. Values below 0 count as 0, values above 120 s as 120 s (the exact max is kept)."""

    __slots__ = ("_count", "_counts", "_max_us", "_min_us", "_pending")

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(_cells(), dtype=np.int64)
        self._pending = array("q")
        self._min_us = HIGHEST_US
        self._max_us = 0
        self._count = 0

    @property
    def count(self) -> int:
        """How many latencies were recorded."""
        return self._count + len(self._pending)

    def record(self, value_us: int) -> None:
        """Count one latency; about 0.1 us."""
        self._pending.append(value_us)
        if len(self._pending) >= _BUFFER:
            self._settle()

    def record_many(self, values_us: "NDArray[np.int64] | Iterable[int]") -> None:
        """Count many latencies at once."""
        values = np.asarray(values_us, dtype=np.int64)
        if values.size == 0:
            return
        low, high = int(values.min()), int(values.max())
        self._min_us = min(self._min_us, max(low, 0))
        self._max_us = max(self._max_us, high)
        self._counts += np.bincount(cells_of(values), minlength=self._counts.size)
        self._count += int(values.size)

    def merge(self, other: "Histogram") -> None:
        """Add another histogram's counts to these."""
        other._settle()
        self._settle()
        self._counts += other._counts
        self._min_us = min(self._min_us, other._min_us)
        self._max_us = max(self._max_us, other._max_us)
        self._count += other._count

    def value_at(self, percentile: float) -> int:
        """The value in us that `percentile` (0..100) percent do not exceed, as HdrHistogram rounds it."""
        self._settle()
        if self.count == 0:
            return 0
        wanted = max(1, int(percentile * self.count / 100 + 0.5))
        index = int(np.searchsorted(np.cumsum(self._counts), wanted))
        return min(_highest_at(index), self._max_us)

    def curve(self, percentiles: Iterable[float]) -> list[tuple[float, float]]:
        """Pairs of percentile and latency in ms, for drawing."""
        return [(percentile, self.value_at(percentile) / 1000) for percentile in percentiles]

    def latency(self) -> Latency:
        """The percentiles in ms and the encoded counts, as the result file holds them."""
        self._settle()
        if self.count == 0:
            return Latency()
        named = {name: self.value_at(at) / 1000 for name, at in PERCENTILES.items()}
        return Latency(
            count=self.count, min=self._min_us / 1000, max=self._max_us / 1000, hdr=self.encode(), **named
        )

    def encode(self) -> str:
        """HdrHistogram V2, deflated, in base64: readable by any HdrHistogram tool."""
        self._settle()
        hdr = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        used = np.flatnonzero(self._counts)
        for index in used.tolist():
            hdr.counts[index] = int(self._counts[index])
        if used.size:
            hdr.set_internal_tacking_values(int(used[0]), int(used[-1]), self.count)
        encoded: bytes = hdr.encode()
        return encoded.decode()

    @classmethod
    def decode(cls, text: str) -> "Histogram":
        """A histogram from its encoded counts; the exact min and max are then those of the buckets."""
        hdr = HdrHistogram.decode(text)
        histogram = cls()
        counts = np.fromiter(
            (hdr.get_count_at_index(index) for index in range(histogram._counts.size)), dtype=np.int64
        )
        used = np.flatnonzero(counts)
        histogram._counts = counts
        histogram._count = int(counts.sum())
        if used.size:
            histogram._min_us = _lowest_at(int(used[0]))
            histogram._max_us = _highest_at(int(used[-1]))
        return histogram

    def _settle(self) -> None:
        if self._pending:
            self.record_many(np.frombuffer(self._pending, dtype=np.int64).copy())
            self._pending = array("q")


def cells_of(values_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of each latency, for those who count by something else as well."""
    return _index_of(np.clip(values_us, 0, HIGHEST_US))


def highest_in(cell: int) -> int:
    """The largest latency in us that falls into a bucket."""
    return _highest_at(cell)


def _cells() -> int:
    last = int(_index_of(np.array([HIGHEST_US], dtype=np.int64))[0])
    return ((last >> _HALF_MAGNITUDE) + 1) << _HALF_MAGNITUDE


def _index_of(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bucket numbers in HdrHistogram's layout for a unit of 1 and three digits."""
    _, bits = np.frexp((values | (_SUB_BUCKETS - 1)).astype(np.float64))
    bucket = bits.astype(np.int64) - (_HALF_MAGNITUDE + 1)
    return ((bucket + 1) << _HALF_MAGNITUDE) + (values >> bucket) - _HALF


def _lowest_at(index: int) -> int:
    bucket, sub = (index >> _HALF_MAGNITUDE) - 1, (index & (_HALF - 1)) + _HALF
    return sub - _HALF if bucket < 0 else sub << bucket


def _highest_at(index: int) -> int:
    bucket = max(0, (index >> _HALF_MAGNITUDE) - 1)
    return _lowest_at(index) + (1 << bucket) - 1
