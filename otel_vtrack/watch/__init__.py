"""Watches new deployments alongside the server: checks them, stores findings, and sends alerts.

Each part runs in its own thread, so that neither ingest nor the checks ever wait for an endpoint.
"""

from otel_vtrack.watch.watcher import Watcher

__all__ = ["Watcher"]
