"""The public names for applications; each is loaded on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from otel_vtrack.sdk.detect import detect_version
    from otel_vtrack.sdk.feedback import log_expectation, log_feedback
    from otel_vtrack.sdk.install import install
    from otel_vtrack.sdk.processor import VersionSpanProcessor
    from otel_vtrack.sdk.tagging import tag
    from otel_vtrack.sdk.trace_tags import set_trace_tag

__all__ = [
    "VersionSpanProcessor",
    "__version__",
    "detect_version",
    "install",
    "log_expectation",
    "log_feedback",
    "set_trace_tag",
    "tag",
]

# Loaded on first use: the server and the command line need none of them.
_HOMES: Final = {
    "VersionSpanProcessor": "otel_vtrack.sdk.processor",
    "detect_version": "otel_vtrack.sdk.detect",
    "install": "otel_vtrack.sdk.install",
    "log_expectation": "otel_vtrack.sdk.feedback",
    "log_feedback": "otel_vtrack.sdk.feedback",
    "set_trace_tag": "otel_vtrack.sdk.trace_tags",
    "tag": "otel_vtrack.sdk.tagging",
}

__version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib import metadata  # noqa: PLC0415 - slow and rarely needed

        try:
            value: Any = metadata.version("otel-vtrack")
        except metadata.PackageNotFoundError as error:
            # Frozen without metadata. `hasattr` and the like expect AttributeError.
            raise AttributeError("otel-vtrack is installed without its metadata") from error
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
