"""The version in the metadata of the application's own distribution.

A wrong version is worse than none, and under ``gunicorn shop:app`` the distribution that runs is
gunicorn. So only a distribution that is certainly the application counts: the one named by the
settings, one named like the service, or the one started as a program *if* it was installed from
source, as applications are and launchers are not (PEP 610, ``direct_url.json``). A service may be
named like its launcher, so the latter two never count if they are a well-known launcher. An
application installed from an index cannot be told from a library with the same name, so it counts.
"""

import os
import re
import sys
from typing import TYPE_CHECKING, Final

from otel_vtrack.sdk import guest, settings

if TYPE_CHECKING:
    # Takes 10 ms to import and is often not needed.
    from importlib.metadata import Distribution


_WITH_VALUE: Final = re.compile("-[a-zA-Z]*?([cmWX])(.*)", re.DOTALL)
"""A Python option that takes a value, alone or after other flags: `-m`, `-Im`, `-mshop`."""

_LAUNCHERS: Final = frozenset(
    {
        *("daphne", "granian", "gunicorn", "hypercorn", "mod-wsgi", "pyuwsgi", "uvicorn"),
        *("uvicorn-worker", "uwsgi", "waitress"),
        *("arq", "celery", "dramatiq", "huey", "rq", "taskiq"),
        *("django", "fastapi", "fastapi-cli", "flask", "litestar", "sanic", "streamlit"),
        *("awslambdaric", "functions-framework", "pytest"),
    }
)
"""Normalized names of distributions that run an application which they are given."""


def version(service_name: str | None) -> str | None:
    """Return the application's version, or None when no distribution is certainly its own."""
    with guest.shield("reading the distribution's metadata"):
        named = settings.text(settings.OTEL_VTRACK_DISTRIBUTION)
        found = _distribution(named) if named else None
        if found is not None:
            return found.version
        found = _distribution(service_name) if service_name else None
        if found is not None and not _launches(found):
            return found.version
        found = _started()
        if found is not None and _is_from_source(found) and not _launches(found):
            return found.version
    return None


def _is_from_source(found: "Distribution") -> bool:
    # Conda's packages have the `direct_url.json` of the machine that built them.
    by_conda = (found.read_text("INSTALLER") or "").strip() == "conda"
    return bool(found.read_text("direct_url.json")) and not by_conda


def _launches(found: "Distribution") -> bool:
    # Names are compared as PyPI does (PEP 503).
    return re.sub("[-_.]+", "-", found.name).lower() in _LAUNCHERS


def _distribution(name: str) -> "Distribution | None":
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _started() -> "Distribution | None":
    """Return the distribution of `python -m package` or of the console script that was started.

    Reads the command line, because `__main__` does not exist yet when the zero-code hook runs.
    """
    rest = iter(sys.orig_argv[1:])
    for argument in rest:
        if argument == "--check-hash-based-pycs":
            next(rest, None)
        elif option := _WITH_VALUE.match(argument):
            value = option[2] or next(rest, "")
            if option[1] == "m":
                # Not packages_distributions(), which reads the files of every distribution.
                return _distribution(value.partition(".")[0])
            if option[1] == "c":
                break
        elif not argument.startswith("-"):
            name = os.path.basename(argument).removesuffix(".exe")  # noqa: PTH119 - may be any text
            from importlib import metadata  # noqa: PLC0415

            entries = metadata.entry_points(group="console_scripts", name=name)
            return next((entry.dist for entry in entries), None)
    return None
