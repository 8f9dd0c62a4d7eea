"""Watches new deployments beside the server: looks, stores what it finds, and tells of it.

Each part runs in a thread of its own, so that neither ingest nor looking ever waits for an
endpoint.
"""

from otel_vtrack.watch.watcher import Watcher

__all__ = ["Watcher"]
