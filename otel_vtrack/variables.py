"""Variables of the environment in texts of the settings file."""

import os
import re
from typing import Any, Final

_VARIABLE: Final = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def expanded(value: Any) -> Any:
    """Put variables of the environment into texts that name them, `${env:NAME:-default}`.

    Raises:
        ValueError: There is no variable of a name, and no default.
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
