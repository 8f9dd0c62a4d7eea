"""Estimate the share of the traces that saw each variant of a flag, over time."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from otel_vtrack.analysis.flags import shares
from otel_vtrack.analysis.statistics import Estimate
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.query import flags
from otel_vtrack.query.flags import Where
from otel_vtrack.store.client import Store

_SECOND_NS: Final = 1_000_000_000
_BUCKETS: Final = 60
_MOST: Final = 10_000
_WIDTHS: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200),
    *(86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000, 315360000),
)


@dataclass(frozen=True, slots=True)
class VariantShare:
    """A variant in a time interval."""

    variant: str
    trace_count: int
    share: Estimate


@dataclass(frozen=True, slots=True)
class Bucket:
    """The traces that began in a time interval; flags.proto explains each field."""

    start_ns: int
    trace_count: int
    unevaluated_count: int
    variants: tuple[VariantShare, ...]


@dataclass(frozen=True, slots=True)
class Exposure:
    """The variants of a flag over time."""

    width_s: int
    buckets: list[Bucket]
    sampled_one_in: int


def expose(
    store: Store, where: Where, *, flag: str, width_s: int = 0, max_traces: int = 0
) -> Exposure:
    """Count the traces that saw each variant by the time at which their root began.

    Args:
        store: Where to look.
        where: Which traces.
        flag: Its key.
        width_s: Width of a bucket in seconds; 0 for about 60 buckets.
        max_traces: 0 for `query.flags.MAX_TRACES`.

    Raises:
        InvalidArgument: The flag is missing, or there are too many buckets.
    """
    if not flag:
        raise InvalidArgument("name a flag: `vtrack flags list` shows them")
    sample = flags.sample(store, where, flag=flag, max_traces=max_traces)
    seen = sample.flags.get(flag)
    if not len(sample) or seen is None:
        return Exposure(width_s or _WIDTHS[0], [], sample.one_in)
    seconds = sample.starts_ns // _SECOND_NS
    extent = int(seconds[-1] - seconds[0])
    width = width_s or next(each for each in _WIDTHS if each * _BUCKETS >= extent)
    numbers = seconds // width
    # Traces are in time order, so each bucket is contiguous.
    starts, firsts = np.unique(numbers, return_index=True)
    if len(starts) > _MOST:
        raise InvalidArgument(
            f"there are more than {_MOST:,} buckets of {width} s: choose a greater width, or a"
            " shorter time range"
        )
    order = np.argsort(
        -np.bincount(seen.codes[seen.codes >= 0], minlength=len(seen.names)), kind="stable"
    )
    buckets: list[Bucket] = []
    edges = [*firsts.tolist(), len(numbers)]
    for number, first, last in zip(starts.tolist(), edges, edges[1:], strict=False):
        codes, weights = seen.codes[first:last], sample.weights[first:last]
        total = float(weights.sum())
        # The first count is of those that did not evaluate the flag.
        unevaluated, *counts = np.bincount(codes + 1, weights, len(seen.names) + 1).tolist()
        effect = shares.design_effect(sample.clusters[first:last], weights)
        buckets.append(
            Bucket(
                number * width * _SECOND_NS,
                round(total) * sample.one_in,
                round(unevaluated) * sample.one_in,
                tuple(
                    VariantShare(
                        seen.names[code],
                        round(counts[code]) * sample.one_in,
                        shares.share(counts[code], total, effect),
                    )
                    for code in order.tolist()
                ),
            )
        )
    return Exposure(width, buckets, sample.one_in)
