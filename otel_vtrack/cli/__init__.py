"""The entry point of the command `vtrack`, whose subcommands are imported only when needed."""

import codecs
import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from typing import Final

from otel_vtrack.errors import VtrackError

_SIGNS: Final = {"━": "=", "█": "#", "├": "|", "└": "`", "│": "|", "…": "~", "µ": "u"}
"""What we draw and write, in ASCII."""

_HINT: Final = "vtrack needs the server half: pip install 'otel-vtrack[server]'"


def main() -> None:
    """Run the command line, printing expected errors as one line on stderr."""
    if find_spec("click") is None:
        _end(_HINT, 2)
    # Text may contain characters that the encoding of the terminal, or of LC_ALL, lacks.
    codecs.register_error("vtrack", _spelt)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="vtrack")
    # gRPC's core would print its own messages, which add nothing to ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from otel_vtrack.cli.group import group  # noqa: PLC0415 - click is not in a base install

        group(prog_name="vtrack")
    except ModuleNotFoundError as error:
        # click may be installed without the rest of the server half.
        if (error.name or "").partition(".")[0] in {"otel_vtrack", ""}:
            raise
        _end(_HINT, 2)
    except KeyboardInterrupt:
        # Interrupted during the imports; later, click itself prints this.
        _end("\nAborted!", 1)
    except VtrackError as error:
        _end("vtrack: " + " ".join(str(error).split()), 1)


def _spelt(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace a sign of ours by one that every encoding has; escape any other character."""
    if isinstance(error, UnicodeEncodeError) and (sign := error.object[error.start]) in _SIGNS:
        return _SIGNS[sign], error.start + 1
    return codecs.backslashreplace_errors(error)


def _end(line: str, code: int) -> None:
    print(line, file=sys.stderr)
    sys.exit(code)
