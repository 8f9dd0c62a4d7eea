"""Rotel processor: says which version, environment, deployment and commit telemetry comes from.

Only what the application has not said itself is added, to the resource of traces, logs and metrics.
What these are is read once, when Rotel starts, from variables of the environment:

    OTEL_VTRACK_VERSION          service.version
    OTEL_VTRACK_ENVIRONMENT      deployment.environment.name
    OTEL_VTRACK_DEPLOYMENT_ID    deployment.id
    OTEL_VTRACK_COMMIT           vcs.ref.head.revision
    OTEL_VTRACK_BRANCH           vcs.ref.head.name
    OTEL_VTRACK_REPOSITORY       vcs.repository.url.full
    OTEL_VTRACK_STAMP_SPANS      true puts what is added on each span as well: for backends that
                                 cannot look into resources. vtrack can, and it makes Rotel some
                                 three times slower.

Rotel ends when a processor raises, and what it had accepted is lost. So nothing here raises: what
cannot be stamped goes on as it came, and the first such failure is told on stderr. Rotel also ends,
whatever is caught here, after its own classes have failed on what they were asked for, so they are
asked for very little:

- The values of attributes are never read, only their keys: to read a value that is not set is such
  a failure. (So an application's own version is not copied from the resource to its spans.)
- Each attribute that is added is a new object, which nothing here holds: one in two places is
  another.
"""

import contextlib
import os
import re
import sys

_VARIABLES = {
    "OTEL_VTRACK_VERSION": "service.version",
    "OTEL_VTRACK_ENVIRONMENT": "deployment.environment.name",
    "OTEL_VTRACK_DEPLOYMENT_ID": "deployment.id",
    "OTEL_VTRACK_COMMIT": "vcs.ref.head.revision",
    "OTEL_VTRACK_BRANCH": "vcs.ref.head.name",
    "OTEL_VTRACK_REPOSITORY": "vcs.repository.url.full",
}
# Said by an application in the name that conventions before 1.27 had.
_SYNONYMS = {"deployment.environment": "deployment.environment.name"}
_CREDENTIALS = re.compile(r"//[^/@]*@")


def process_spans(resource_spans):
    """Stamp spans of one resource; called by Rotel."""
    # BaseException: a failure of Rotel's own classes is no Exception.
    try:
        added = _stamp_resource(resource_spans)
        if added and _STAMP_SPANS:
            for scope_spans in resource_spans.scope_spans:
                for span in scope_spans.spans:
                    _add(span, added)
    except BaseException as error:
        _tell(error)


def process_logs(resource_logs):
    """Stamp log records of one resource; called by Rotel."""
    try:
        _stamp_resource(resource_logs)
    except BaseException as error:
        _tell(error)


def process_metrics(resource_metrics):
    """Stamp metrics of one resource; called by Rotel."""
    try:
        _stamp_resource(resource_metrics)
    except BaseException as error:
        _tell(error)


def _stamp_resource(group):
    if not _TAGS:
        return {}
    resource = group.resource
    if resource is None:
        resource = Resource()
        _add(resource, _TAGS)
        group.resource = resource
        return _TAGS
    return _add(resource, _TAGS)


def _add(holder, tags):
    """Add what a resource or a span has not, and return it."""
    attributes = holder.attributes
    there = {pair.key for pair in attributes}
    there.update([_SYNONYMS[key] for key in there if key in _SYNONYMS])
    missing = {key: text for key, text in tags.items() if key not in there}
    for key, text in missing.items():
        attributes.append(KeyValue.new_string_value(key, text))
    return missing


def _tell(error):
    global _told
    if not _told:
        _told = True
        with contextlib.suppress(BaseException):
            print(f"stamp_version: not stamped: {type(error).__name__}: {error}", file=sys.stderr)


_told = False
_TAGS = {}
_STAMP_SPANS = False
try:
    from rotel_sdk.open_telemetry.common.v1 import KeyValue
    from rotel_sdk.open_telemetry.resource.v1 import Resource

    _GIVEN = {key: os.environ.get(name, "").strip() for name, key in _VARIABLES.items()}
    _TAGS = {key: _CREDENTIALS.sub("//", text) for key, text in _GIVEN.items() if text}
    _STAMP_SPANS = os.environ.get("OTEL_VTRACK_STAMP_SPANS", "").strip().lower() == "true"
except BaseException as error:
    _tell(error)
