"""Validates changes to the tags of experiments and deployments."""

from collections.abc import Iterable, Mapping
from typing import Final

from otel_vtrack.errors import InvalidArgument

LONGEST_KEY: Final = 250
LONGEST_VALUE: Final = 4_096


def changes(
    set_tags: Mapping[str, str], delete_tags: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """Return both arguments in the form in which they are stored, with keys sorted.

    Raises:
        InvalidArgument: A key is empty or too long, a value is too long, or a key is in both.
    """
    gone = sorted(set(delete_tags))
    for key in (*set_tags, *gone):
        if not 0 < len(key) <= LONGEST_KEY:
            raise InvalidArgument(f"the key of a tag must have from 1 to {LONGEST_KEY} characters")
    for key, value in set_tags.items():
        if len(value) > LONGEST_VALUE:
            raise InvalidArgument(
                f"the value of the tag {key} has {len(value)} characters: shorten it to"
                f" {LONGEST_VALUE}"
            )
    if both := sorted(set(gone) & set(set_tags)):
        raise InvalidArgument(f"the tag {both[0]} is both set and deleted: choose one")
    return dict(sorted(set_tags.items())), gone
