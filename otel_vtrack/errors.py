"""Every exception raised on purpose, as a tree.

    VtrackError
    ├── SettingsError       a setting is missing or makes no sense
    ├── WireError           bytes that are not the OTLP they claim to be
    ├── StoreError          the store cannot do what was asked
    │   ├── StoreUnavailable    for now: disk full, read-only, server away; try again
    │   ├── ReadsTooMuch        more rows than the question lets the store read
    │   ├── StoreLocked         another process has the folder
    │   ├── SchemaDrift         an applied migration was edited
    │   └── SchemaTooNew        the folder was written by a newer release
    ├── NotFound            the thing named does not exist
    ├── AlreadyExists       the name is taken
    ├── InvalidArgument     the caller asked for something that makes no sense
    └── Overloaded          the queue is full; try again after a pause

Messages end with what to do.
"""


class VtrackError(Exception):
    """Base of all of them."""


class SettingsError(VtrackError):
    """A setting is missing or makes no sense."""


class WireError(VtrackError):
    """Bytes that are not the OTLP they claim to be."""


class StoreError(VtrackError):
    """The store cannot do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot do it for now; the same call may succeed later."""


class ReadsTooMuch(StoreError):
    """More rows would have been read than the question allowed; none was."""


class StoreLocked(StoreError):
    """Another process has the store's folder open."""


class SchemaDrift(StoreError):
    """A migration was edited after it was applied."""


class SchemaTooNew(StoreError):
    """The store was written by a newer release than this one."""


class NotFound(VtrackError):
    """The thing named does not exist."""


class AlreadyExists(VtrackError):
    """The name is taken."""


class InvalidArgument(VtrackError):
    """The caller asked for something that makes no sense."""


class Overloaded(VtrackError):
    """The queue is full; try again after `retry_after_seconds`."""

    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
