"""Parses the Retry-After header."""

from email.utils import parsedate_to_datetime


def seconds(text: str, now: float) -> float | None:
    """Return how many seconds to wait; None if the value is invalid.

    Source: RFC 9110 section 10.2.3: seconds, or a date.

    Args:
        text: The header's value; empty if there is none.
        now: Current time, in seconds since 1970.
    """
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
