"""Re-encodes requests for readers that support only what encoders usually write.

In protobuf, the last of several oneof members wins, repeated occurrences of a message field are
merged, and a field of another wire type, or a group, counts as unknown. The engine's reader does
none of this. See https://protobuf.dev/programming-guides/encoding/, "Last One Wins".
"""

from typing import Final

from google.protobuf.message import DecodeError, Message

from otel_vtrack.errors import WireError
from otel_vtrack.wire import framing

# Field 1, length-delimited.
_GROUP: Final = (1, 2)


def encoded_anew(payload: bytes, kind: type[Message]) -> bytes:
    """Re-encode requests as an encoder writes them: each field once, without unknown fields.

    Our private fields stay.

    Args:
        payload: One or more concatenated export requests.
        kind: ResourceSpans or ResourceLogs.

    Raises:
        WireError: The bytes are not such requests.
    """
    return b"".join(
        framing.length_delimited(number, _group(payload[value:end], kind))
        for number, wire_type, _, value, end in framing.fields(payload)
        if (number, wire_type) == _GROUP
    )


def _group(raw: bytes, kind: type[Message]) -> bytes:
    try:
        group = kind.FromString(raw)
    except DecodeError:
        raise WireError("the bytes are not OTLP: send what an OTLP encoder wrote") from None
    group.DiscardUnknownFields()
    marks = (
        raw[start:end]
        for number, _, start, _, end in framing.fields(raw)
        if number in framing.PRIVATE_FIELDS
    )
    return b"".join((group.SerializeToString(), *marks))
