"""Composes conditions of the search language from arguments."""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone


def quoted(text: str) -> str:
    """Write a text so that it is nothing but a text, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def moment(time: datetime) -> str:
    """Write a time; one without zone is taken as UTC."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return quoted(time.astimezone(timezone.utc).isoformat(timespec="microseconds"))


def length(duration: timedelta) -> str:
    """Write a duration."""
    return f"{duration // timedelta(microseconds=1)}us"


def range_of(key: str, start: datetime | None, end: datetime | None) -> list[str]:
    """Return the conditions that a time lies between two, the second excluded."""
    bounds = [] if start is None else [f"{key} >= {moment(start)}"]
    return bounds if end is None else [*bounds, f"{key} < {moment(end)}"]


def at_least(key: str, duration: timedelta | None) -> str | None:
    """Return the condition that a duration is not shorter."""
    return None if duration is None else f"{key} >= {length(duration)}"


def composed(free: str, equal: Mapping[str, str | None], *more: str | None) -> str:
    """Join what was given: all of it must hold.

    Args:
        free: A whole filter of the caller's own, perhaps empty.
        equal: Texts by their keys; None and empty ones do not restrict.
        more: Further conditions; None does not restrict.
    """
    conditions = [f"{key} = {quoted(text)}" for key, text in equal.items() if text]
    conditions += [each for each in more if each]
    if not conditions:
        return free
    if free.strip():
        conditions.insert(0, f"({free})")
    return " AND ".join(conditions)
