"""Stores what the deployment watch found, and which of its events were delivered."""

from collections.abc import Sequence

from otel_vtrack.query import watch
from otel_vtrack.query.watch import WatchEvent
from otel_vtrack.record.clock import now_ns
from otel_vtrack.store.client import Store


def add_events(store: Store, events: Sequence[WatchEvent]) -> list[WatchEvent]:
    """Store those events that are not stored yet, and return them.

    Raises:
        StoreUnavailable: The store is unavailable; the same call may succeed later.
    """
    there = watch.known(store, [each.event_id for each in events])
    fresh = [each for each in events if each.event_id not in there]
    if fresh:
        rows = [watch.columns(each) for each in fresh]
        store.insert("watch_events", [list(row.values()) for row in rows], list(rows[0]))
    return fresh


def end_delivery(
    store: Store, event: WatchEvent, channel: str, *, delivered: bool, attempts: int
) -> None:
    """Record that a channel delivered an event or gave up on it.

    Raises:
        StoreUnavailable: The store is unavailable; the same call may succeed later.
    """
    row = {
        "experiment": event.experiment,
        "event_id": event.event_id,
        "channel": channel,
        "delivered": delivered,
        "attempts": attempts,
        "delivery_time": now_ns(),
    }
    store.insert("watch_deliveries", [list(row.values())], list(row))
