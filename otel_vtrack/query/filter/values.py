"""Parse values: quoted texts, numbers, durations and times."""

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Final

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|μs|ms|s|m|h|d|w)")
_NANOSECONDS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_MOMENT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)? ?(Z|z|[+-]\d\d:?\d\d)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LARGEST: Final = (1 << 63) - 1


def unquoted(text: str) -> str:
    """Remove the quotes; a doubled quote inside becomes one, a backslash stays."""
    return text[1:-1].replace(text[0] * 2, text[0])


def duration(text: str) -> int:
    """Parse `1h30m`, `-2s` or `0.5ms` into nanoseconds, clamped to 64 bits."""
    sign = -1 if text.startswith("-") else 1
    parts = _PART.findall(text)
    return clamped(sign * sum(Decimal(number) * _NANOSECONDS[unit] for number, unit in parts))


def moment(text: str) -> int | None:
    """Parse ISO 8601 into nanoseconds since 1970, or None if invalid; the default zone is UTC."""
    found = _MOMENT.fullmatch(text.strip())
    if not found:
        return None
    day, minute, second, fraction, zone = found.groups()
    zone = "+0000" if zone in {None, "Z", "z"} else zone.replace(":", "")
    try:
        whole = datetime.strptime(
            f"{day}T{minute or '00:00'}:{second or '00'}{zone}", "%Y-%m-%dT%H:%M:%S%z"
        )
    except ValueError:
        return None
    seconds = (whole - _EPOCH) // timedelta(seconds=1)
    return clamped(Decimal(seconds) * 10**9 + int((fraction or "").ljust(9, "0")))


def clamped(nanoseconds: Decimal | int) -> int:
    """Clamp to the range that the store can hold: signed 64 bits."""
    return max(-_LARGEST - 1, min(_LARGEST, int(nanoseconds)))
