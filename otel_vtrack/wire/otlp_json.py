"""Converts OTLP JSON to protobuf messages and back, by the rules OTLP adds to protobuf's JSON.

IDs are hex, in either case, while other bytes are base64. Enums are numbers. Keys are
lowerCamelCase; any other key is an unknown field, which is ignored at every depth. The tables for
both directions are built from the messages' descriptors, so no field is named but the IDs.
(protobuf's own json_format reads IDs as base64, accepts enum names and keys with underscores, and
is several times slower.)
"""

import contextlib
import gc
import json
from collections.abc import Callable, Generator
from typing import Any, Final, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from otel_vtrack.errors import WireError
from otel_vtrack.wire.json_values import Scalar, Unfit, kind_of, reader, writer

# The nesting limit of protobuf parsers, applied to JSON too.
_DEEPEST: Final = 100
_Setter = Callable[[Any, Any, int], None]
_Table = dict[str, _Setter]


def read(raw: bytes, message: Message) -> None:
    """Fill an empty message from OTLP JSON.

    Raises:
        WireError: The text is not JSON, or a value does not fit; the message names its path.
    """
    try:
        with _without_looking_for_garbage():
            document = json.loads(raw)
    except RecursionError:
        raise WireError(
            f"the JSON is nested deeper than {_DEEPEST} levels; send flatter values"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise WireError(f"the body is not JSON: {error}; send OTLP JSON in UTF-8") from None
    except ValueError:
        # Python's own limit, which the sender cannot know.
        raise WireError(
            "a number in the JSON has thousands of digits; send one that fits its field"
        ) from None
    fill(message, document)


@contextlib.contextmanager
def _without_looking_for_garbage() -> Generator[None]:
    """Disable garbage collection while creating many objects without reference cycles.

    Scanning them meanwhile took six times as long as parsing 16 MiB of `[],[],`, and the parser
    lets no other thread run.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def fill(message: Message, document: Any, depth: int = 0) -> None:
    """Fill an empty message from a parsed document of OTLP JSON.

    Args:
        message: Message to fill.
        document: The document as Python dicts, lists and scalars.
        depth: How many messages will enclose this one.

    Raises:
        WireError: A value does not fit; the message names its path.
    """
    try:
        _fill(message, document, depth, _table(message.DESCRIPTOR))
    except Unfit as bad:
        path = "$" + "".join(reversed(bad.path))
        raise WireError(f"{path}: {bad}") from None


def write(message: Message) -> str:
    """Write a message as compact OTLP JSON; unset fields are omitted."""
    return json.dumps(as_object(message), ensure_ascii=False, separators=(",", ":"))


def as_object(message: Message) -> dict[str, Any]:
    """Convert a message to a JSON object."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, repeated, to_json = _writers.get(field) or _writer(field)
        found[name] = [to_json(item) for item in value] if repeated else to_json(value)
    return found


_writers: Final[dict[FieldDescriptor, tuple[str, bool, Scalar]]] = {}


def _writer(field: FieldDescriptor) -> tuple[str, bool, Scalar]:
    to_json = as_object if field.message_type else writer(field)
    _writers[field] = found = (field.json_name, field.is_repeated, to_json)
    return found


def _fill(message: Any, value: Any, depth: int, table: _Table) -> None:
    if not isinstance(value, dict):
        raise Unfit(f"expected an object, got {kind_of(value)}")
    if depth > _DEEPEST:
        raise Unfit(f"nested deeper than {_DEEPEST} levels; send flatter values")
    key = ""
    try:
        for key, item in cast("dict[str, Any]", value).items():
            # null means an absent field.
            if item is not None and (setter := table.get(key)):
                setter(message, item, depth + 1)
    except (ValueError, TypeError) as error:
        raise _found_at(error, f".{key}") from None


def _found_at(error: Exception, step: str) -> Unfit:
    # The message class itself rejects only numbers out of their field's range.
    bad = error if isinstance(error, Unfit) else Unfit("the number is out of range for this field")
    bad.path.append(step)
    return bad


def _table(descriptor: Any) -> _Table:
    """Return the setter of each field, by its JSON name."""
    table = _tables.get(descriptor.full_name)
    if table is None:
        # Registered before it is filled, as AnyValue contains AnyValues.
        table = _tables[descriptor.full_name] = {}
        table.update({field.json_name: _setter(field) for field in descriptor.fields})
    return table


_tables: Final[dict[str, _Table]] = {}


def _setter(field: FieldDescriptor) -> _Setter:
    name = field.name
    if field.message_type:
        table = _table(field.message_type)
        return _message_list(name, table) if field.is_repeated else _message(name, table)
    from_json = reader(field)
    if field.is_repeated:
        return _scalar_list(name, from_json)

    def set_scalar(message: Any, value: Any, _depth: int) -> None:
        setattr(message, name, from_json(value))

    return set_scalar


def _message(name: str, table: _Table) -> _Setter:
    def set_message(message: Any, value: Any, depth: int) -> None:
        inner = getattr(message, name)
        # Even an object without known fields makes the message present.
        inner.SetInParent()
        _fill(inner, value, depth, table)

    return set_message


def _message_list(name: str, table: _Table) -> _Setter:
    def set_messages(message: Any, value: Any, depth: int) -> None:
        add = getattr(message, name).add
        items, index = _array(value), 0
        try:
            for index, item in enumerate(items):  # noqa: B007 - for the path of an error
                _fill(add(), {} if item is None else item, depth, table)
        except Unfit as bad:
            raise _found_at(bad, f"[{index}]") from None

    return set_messages


def _scalar_list(name: str, from_json: Scalar) -> _Setter:
    def set_scalars(message: Any, value: Any, _depth: int) -> None:
        append = getattr(message, name).append
        items, index = _array(value), 0
        try:
            for index, item in enumerate(items):  # noqa: B007 - for the path of an error
                append(from_json(item))
        except (ValueError, TypeError) as error:
            raise _found_at(error, f"[{index}]") from None

    return set_scalars


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit(f"expected an array, got {kind_of(value)}")
    return cast("list[Any]", value)
