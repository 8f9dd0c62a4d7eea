"""Build conditions of the search language from arguments."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone

from otel_vtrack.client.values import assert_duration, assert_time


def quoted(text: str) -> str:
    """Quote and escape a string."""
    return "'" + text.replace("'", "''") + "'"


def moment(time: datetime) -> str:
    """Format a time; one without a time zone is taken as UTC."""
    assert_time(time)
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return quoted(time.astimezone(timezone.utc).isoformat(timespec="microseconds"))


def length(duration: timedelta) -> str:
    """Format a duration."""
    assert_duration(duration)
    return f"{duration // timedelta(microseconds=1)}us"


def range_of(key: str, start: datetime | None, end: datetime | None) -> list[str]:
    """Return the conditions that a time lies in [start, end); None leaves a side open."""
    bounds = [] if start is None else [f"{key} >= {moment(start)}"]
    return bounds if end is None else [*bounds, f"{key} < {moment(end)}"]


def at_least(key: str, duration: timedelta | None) -> str | None:
    """Return the condition for a minimum duration; None for none."""
    return None if duration is None else f"{key} >= {length(duration)}"


def composed(free: str, equal: Mapping[str, str | None], *more: str | None) -> str:
    """Join conditions with AND.

    Args:
        free: The caller's own filter; may be empty.
        equal: Required values by key; None and empty ones do not filter.
        more: Further conditions; None does not filter.
    """
    conditions = [f"{key} = {quoted(text)}" for key, text in equal.items() if text]
    conditions += [each for each in more if each]
    if not conditions:
        return free
    if free.strip():
        conditions.insert(0, f"({free})")
    return " AND ".join(conditions)
