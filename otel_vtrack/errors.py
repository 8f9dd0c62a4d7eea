"""All exceptions that are raised on purpose, as a tree.

    VtrackError
    ├── SettingsError       a setting is missing or invalid
    ├── WireError           bytes that are not the OTLP they claim to be
    ├── StoreError          the store cannot do what was requested
    │   ├── StoreUnavailable    temporarily: disk full, read-only, server away; retry
    │   ├── ReadsTooMuch        the query would read more rows than it allows
    │   ├── StoreLocked         another process has the folder open
    │   ├── SchemaDrift         an applied migration was edited
    │   └── SchemaTooNew        the store was written by a newer release
    ├── NotFound            the named object does not exist
    ├── AlreadyExists       the name is taken
    ├── InvalidArgument     the caller passed an invalid argument
    └── Overloaded          the queue is full; retry after a pause

Messages end with what to do.
"""


class VtrackError(Exception):
    """Base class of all these exceptions."""


class SettingsError(VtrackError):
    """A setting is missing or invalid."""


class WireError(VtrackError):
    """Bytes that are not the OTLP they claim to be."""


class StoreError(VtrackError):
    """The store cannot do what was requested."""


class StoreUnavailable(StoreError):
    """The store temporarily cannot do it; the same call may succeed later."""


class ReadsTooMuch(StoreError):
    """The query would read more rows than it allows; none was read."""


class StoreLocked(StoreError):
    """Another process has the store's folder open."""


class SchemaDrift(StoreError):
    """A migration was edited after it was applied."""


class SchemaTooNew(StoreError):
    """The store was written by a newer release than this one."""


class NotFound(VtrackError):
    """The named object does not exist."""


class AlreadyExists(VtrackError):
    """The name is taken."""


class InvalidArgument(VtrackError):
    """The caller passed an invalid argument."""


class Overloaded(VtrackError):
    """The queue is full; retry after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
