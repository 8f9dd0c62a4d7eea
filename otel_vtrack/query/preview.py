"""Shorten requests and responses to fit a list of traces."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any, Final, cast

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.wire import anyvalue

LONGEST: Final = 1_000
"""The most characters of a preview, as in MLflow."""

_ASKING: Final = frozenset({"user", "human"})
_ANSWERING: Final = frozenset({"assistant", "ai", "model"})
_ARRAY, _KVLIST = 5, 6


def request(kind: int, text: bytes) -> str:
    """Shorten a request.

    Returns the last user message of a conversation in the form of OpenAI's API or the GenAI
    conventions, else the text as it is.

    Args:
        kind: The field number in AnyValue.
        text: The value as stored; if it is text, it may be truncated.
    """
    return _preview(kind, text, _ASKING)


def response(kind: int, text: bytes) -> str:
    """Shorten a response to the last assistant message; otherwise like `request`."""
    return _preview(kind, text, _ANSWERING)


def _preview(kind: int, text: bytes, roles: frozenset[str]) -> str:
    value: Any = None
    if kind > 4:
        value = _structure(kind, text)
        shown = anyvalue.to_json(value)
    else:
        shown = text.decode(errors="ignore")
        if shown[:1] in {"[", "{"}:
            # It may not be JSON after all, or be truncated.
            with contextlib.suppress(ValueError, RecursionError):
                value = json.loads(shown)
    shown = _last_said(value, roles) or shown
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 3] + "..."


def _structure(kind: int, raw: bytes) -> anyvalue.Value:
    message = AnyValue()
    try:
        if kind == _ARRAY:
            message.array_value.MergeFromString(raw)
        elif kind == _KVLIST:
            message.kvlist_value.MergeFromString(raw)
        else:
            return raw
    except DecodeError:
        return raw
    return anyvalue.from_message(message)


def _last_said(value: Any, roles: frozenset[str]) -> str:
    """Return the text of the last message by one of `roles`; empty if there is none."""
    for message in reversed(_messages(value)):
        if isinstance(message, dict):
            fields = cast("dict[str, Any]", message)
            # In responses of OpenAI's API the message is nested one level deeper.
            inner = fields.get("message")
            if isinstance(inner, dict):
                fields = cast("dict[str, Any]", inner)
            if str(fields.get("role", fields.get("type", ""))).lower() in roles:
                said = _text(fields.get("content", fields.get("parts")))
                if said:
                    return said
    return ""


def _messages(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        for name in ("messages", "input", "choices", "output"):
            inner = fields.get(name)
            if isinstance(inner, list):
                return cast("list[Any]", inner)
        return [fields]
    return cast("list[Any]", value) if isinstance(value, list) else ()


def _text(content: Any) -> str:
    """Join the text of a message's content: a string or a list of parts, some without text."""
    if isinstance(content, str):
        return content
    parts: list[str] = []
    if isinstance(content, list):
        for part in cast("list[Any]", content):
            if isinstance(part, str):
                parts.append(part)
            elif isinstance(part, dict):
                fields = cast("dict[str, Any]", part)
                text = fields.get("text", fields.get("content"))
                if isinstance(text, str):
                    parts.append(text)
    return "\n".join(parts)
