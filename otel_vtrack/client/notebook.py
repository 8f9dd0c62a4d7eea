"""Display messages as tables in IPython, which has no support for protobuf."""

import sys
from typing import Any

from otel_vtrack.client import html
from otel_vtrack.v1 import (
    assessments_pb2,
    deployments_pb2,
    experiments_pb2,
    spans_pb2,
    traces_pb2,
    versions_pb2,
)


def register() -> None:
    """Register an HTML formatter with the running IPython, if there is one."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython and hasattr(ipython, "get_ipython") else None
    formatter = getattr(shell, "display_formatter", None)
    if formatter is None:
        return
    for module in (
        assessments_pb2,
        deployments_pb2,
        experiments_pb2,
        spans_pb2,
        traces_pb2,
        versions_pb2,
    ):
        for name in module.DESCRIPTOR.message_types_by_name:
            formatter.formatters["text/html"].for_type(getattr(module, name), html.message)
