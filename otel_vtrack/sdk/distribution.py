"""The version in the metadata of the application's own distribution.

A wrong version is worse than none, and under ``gunicorn shop:app`` the distribution that runs is
gunicorn. So only what surely is the application counts: the distribution that the settings name,
one named like the service, or the one started as a program *if* it was installed from source, as
applications are and launchers are not (PEP 610, ``direct_url.json``).
"""

import os
import sys
from typing import TYPE_CHECKING

from otel_vtrack.sdk import guest, settings

if TYPE_CHECKING:
    # 10 ms to import, and often there is no need for it.
    from importlib.metadata import Distribution


def version(service_name: str | None) -> str | None:
    """Return the application's version, or None when no distribution surely is its own."""
    with guest.shield("reading the distribution's metadata"):
        for name in (settings.text(settings.OTEL_VTRACK_DISTRIBUTION), service_name):
            found = _distribution(name) if name else None
            if found is not None:
                return found.version
        started = _started()
        if started is not None and started.read_text("direct_url.json"):
            return started.version
    return None


def _distribution(name: str) -> "Distribution | None":
    from importlib import metadata  # noqa: PLC0415

    try:
        return metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _started() -> "Distribution | None":
    """Return the distribution of `python -m package` or of the console script that was started.

    Reads the command line, as `__main__` is not there yet when the zero-code hook runs.
    """
    rest = iter(sys.orig_argv[1:])
    for argument in rest:
        if argument == "-m":
            # Not packages_distributions(), which reads every installed distribution's files.
            return _distribution(next(rest, "").partition(".")[0])
        if argument in {"-X", "-W"}:
            next(rest, None)
        elif not argument.startswith("-"):
            name = os.path.basename(argument).removesuffix(".exe")  # noqa: PTH119 - may be any text
            from importlib import metadata  # noqa: PLC0415

            entries = metadata.entry_points(group="console_scripts", name=name)
            return next((entry.dist for entry in entries), None)
        elif argument.startswith("-c"):
            break
    return None
