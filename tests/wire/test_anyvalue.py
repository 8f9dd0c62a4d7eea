"""Values of every kind come back as they went."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from otel_vtrack.errors import WireError
from otel_vtrack.wire import anyvalue

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
SCALARS = st.one_of(
    st.none(),
    TEXT,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.binary(max_size=10),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(VALUES)
def test_a_value_comes_back_with_its_types(value):
    back = anyvalue.from_bytes(anyvalue.to_bytes(value))
    assert back == value
    # Equality takes True for 1 and 1 for 1.0; the text does not.
    assert repr(back) == repr(value)


@given(VALUES)
def test_bytes_come_back_as_they_were(value):
    raw = anyvalue.to_bytes(value)
    assert anyvalue.to_bytes(anyvalue.from_bytes(raw)) == raw


@pytest.mark.parametrize("value", ["", False, 0, 0.0, b"", [], {}, None])
def test_an_empty_value_keeps_its_kind(value):
    back = anyvalue.from_bytes(anyvalue.to_bytes(value))
    assert (type(back), back) == (type(value), value)


def test_an_index_into_a_dictionary_is_absent():
    assert anyvalue.from_message(AnyValue(string_value_strindex=3)) is None


def test_bytes_that_are_no_value_are_refused():
    with pytest.raises(WireError):
        anyvalue.from_bytes(b"\x0a\x05ab")


@pytest.mark.parametrize("value", [2**63, object(), [1, {"k": {1, 2}}]])
def test_what_has_no_kind_is_refused(value):
    with pytest.raises(WireError):
        anyvalue.to_bytes(value)


@given(VALUES)
def test_every_value_can_be_shown_as_json(value):
    json.loads(anyvalue.to_json(value), parse_constant=pytest.fail)


def test_json_is_what_people_expect():
    value = {"a": [1, 2.5, True, None, "é"], "b": b"\x00\xff", "n": math.nan, "i": -math.inf}
    assert anyvalue.to_json(value) == (
        '{"a":[1,2.5,true,null,"é"],"b":"AP8=","n":"NaN","i":"-Infinity"}'
    )
