"""The command `vtrack`: a group whose commands load when they are asked for."""

import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Final

from otel_vtrack.errors import VtrackError

_HINT: Final = "vtrack needs the server half: pip install 'otel-vtrack[server]'"


def main() -> None:
    """Run the command line; every error made on purpose is one line on stderr."""
    if find_spec("click") is None:
        _end(_HINT, 2)
    for stream in (sys.stdout, sys.stderr):
        # A name may have letters that the encoding of a terminal, or of LC_ALL, does not.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # gRPC's core would write lines of its own, which say nothing that ours don't.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from otel_vtrack.cli.group import group  # noqa: PLC0415 - click is not in a base install

        group(prog_name="vtrack")
    except ModuleNotFoundError as error:
        # click alone is in many environments that never asked for the server half.
        if (error.name or "").partition(".")[0] in {"otel_vtrack", ""}:
            raise
        _end(_HINT, 2)
    except KeyboardInterrupt:
        # While it loads; then click says the same.
        _end("\nAborted!", 1)
    except VtrackError as error:
        _end("vtrack: " + " ".join(str(error).split()), 1)


def _end(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
