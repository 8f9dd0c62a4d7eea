"""Answers of the engine, on the clients that questions share."""

import pytest
from clickhouse_connect.driver import client as library

from otel_vtrack.errors import StoreError
from otel_vtrack.store import client


def test_what_was_written_before_a_fault_is_in_no_other_answer(store):
    with pytest.raises(StoreError):
        store.select(
            "SELECT number, throwIf(number = 300000) AS failed FROM numbers(1000000)"
            " SETTINGS max_block_size = 1000, max_threads = 1"
        )
    # Each client in turn.
    for number in range(client._READERS):
        assert store.select(f"SELECT {number} AS number") == [{"number": number}]


def test_a_statement_is_looked_through_once(store):
    look = library._query_is_read_only
    # Not promised by the library: where this fails, see what `quick` has to do instead.
    before = look.cache_info()
    for trace in range(3):
        store.binary("traces/bounds", {"trace_id": f"{trace:032x}"})
    after = look.cache_info()
    assert after.hits - before.hits >= 2
    assert after.misses - before.misses <= 1
