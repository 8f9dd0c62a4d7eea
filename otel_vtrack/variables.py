"""Expands environment variables in strings of the settings file."""

import os
import re
from typing import Any, Final

_VARIABLE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expanded(value: Any) -> Any:
    """Expand environment variables, `${env:NAME:-default}`, in all strings of a value.

    Raises:
        ValueError: A variable is unset or empty and has no default.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(_of_environment, value)
    if isinstance(value, dict):
        return {key: expanded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [expanded(each) for each in value]
    return value


def _of_environment(found: re.Match[str]) -> str:
    value = os.environ.get(found[1]) or found[2]
    if value is None:
        raise ValueError(f"the environment has no variable {found[1]}: set it, or give a default")
    return value
