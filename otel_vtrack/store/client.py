"""The only module that talks to ClickHouse, embedded (chDB) or remote.

Both use the same clickhouse-connect client, so no module above this one knows which it is.
"""

import contextlib
import logging
import os
import queue
import ssl
import threading
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

from clickhouse_connect import get_client
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError
from typing_extensions import Self

from otel_vtrack.errors import (
    InvalidArgument,
    ReadsTooMuch,
    SettingsError,
    StoreError,
    StoreLocked,
    StoreUnavailable,
)
from otel_vtrack.store import losses, merging, quick, sql
from otel_vtrack.store.gate import Gate
from otel_vtrack.store.topology import Topology

try:
    import fcntl
except ImportError:  # pragma: no cover - chDB has no Windows build either
    fcntl = None

_log = logging.getLogger(__name__)

_READERS: Final = 4
_BLOCK_ROWS: Final = 1_024
_KEPT_UNPACKED: Final = 64 << 20
"""Bytes of decompressed columns cached in memory, of those that pages of recent traces read."""

_PASSING: Final = frozenset(
    {
        # Codes of temporary errors, from ClickHouse's ErrorCodes.cpp.
        74,  # CANNOT_READ_FROM_FILE_DESCRIPTOR
        75,  # CANNOT_WRITE_TO_FILE_DESCRIPTOR
        76,  # CANNOT_OPEN_FILE
        159,  # TIMEOUT_EXCEEDED
        164,  # READONLY
        202,  # TOO_MANY_SIMULTANEOUS_QUERIES
        209,  # SOCKET_TIMEOUT
        210,  # NETWORK_ERROR
        236,  # ABORTED
        241,  # MEMORY_LIMIT_EXCEEDED
        242,  # TABLE_IS_READ_ONLY
        243,  # NOT_ENOUGH_SPACE
        252,  # TOO_MANY_PARTS
        279,  # ALL_CONNECTION_TRIES_FAILED
        999,  # KEEPER_EXCEPTION
        1001,  # STD_EXCEPTION: how a full or read-only file system reaches us
    }
)
_NO_PATTERN: Final = 427  # CANNOT_COMPILE_REGEXP
_TOO_MANY_ROWS: Final = 158
_UNBOUNDED: Final = frozenset({159, 160, 241, 307, 396})


def _why(error: Exception) -> str:
    """Return the first line of an engine's message; the rest may run to pages and quote data."""
    line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return line[:300]


class Store:
    """An open database.

    Thread-safe: statements share a few clients, each of which runs one at a time.

    Attributes:
        topology: Whether tables are plain or replicated across a cluster.
        embedded: Whether the engine runs in this process.
        folder: Folder with all data of an embedded store; None for a remote one.
        settle: Called before each query from a file. A delayed writer sets it to a function that
            waits until everything acknowledged so far is in the tables, and returns False if it
            gave up.
        gate: Writers of telemetry enter it with `open`, deletions with `shut`.
        mended: How many times `mend` found failed writes.
        doubtful: Whether an insert found failed writes, so that `mend` is due before the next.
    """

    def __init__(
        self,
        url: str,
        *,
        cluster: bool = False,
        tls: tuple[Path | None, Path | None, Path | None] = (None, None, None),
    ) -> None:
        """Open the database; `migrate.apply` creates its tables.

        Args:
            url: `chdb:///folder` or `clickhouse://user:password@host:port/database`;
                `clickhouses://` for TLS.
            cluster: Whether a remote store is a cluster with the macros of
                `ReplicatedMergeTree` set.
            tls: PEM files for `clickhouses://`: the authorities to trust (the system's if None),
                the client certificate, and its key. They are reread for each connection.

        Raises:
            SettingsError: The URL is invalid, or a file of `tls` cannot be used.
            StoreLocked: Another process holds the folder.
            StoreError: The folder cannot be used.
            StoreUnavailable: No server answers there.
        """
        self.topology = Topology.CLUSTER if cluster else Topology.SINGLE
        parts = urlsplit(url)
        self.embedded = parts.scheme == "chdb"
        self.folder: Path | None = None
        self.settle: Callable[[], object] = lambda: None
        self.gate = Gate()
        self._lock_file: IO[bytes] | None = None
        self._clients: queue.SimpleQueue[Client] = queue.SimpleQueue()
        self._all: list[Client] = []
        self._mending = threading.Lock()
        self._failed_writes = 0
        self.mended = 0
        self.doubtful = False
        if self.embedded:
            if parts.netloc or not parts.path:
                raise SettingsError(
                    f"{url} is not a store URL: write chdb:///absolute/folder, with three slashes"
                )
            self.folder = Path(unquote(parts.path))
            self._take_folder(self.folder)
            self._arguments: dict[str, Any] = {
                "interface": "chdb",
                "path": str(self.folder / "db"),
                "chdb_options": {"uncompressed_cache_size": str(_KEPT_UNPACKED)},
            }
        elif parts.scheme in {"clickhouse", "clickhouses"} and parts.hostname:
            secure = parts.scheme == "clickhouses"
            self._arguments = {
                "host": parts.hostname,
                "port": parts.port or (8443 if secure else 8123),
                "username": unquote(parts.username or "default"),
                "password": unquote(parts.password or ""),
                "database": parts.path.strip("/") or "default",
                "secure": secure,
                **(_certified(*tls, has_password=bool(parts.password)) if secure else {}),
            }
        else:
            raise SettingsError(
                "a store URL is chdb:///folder or clickhouse://user:password@host:port/database"
            )
        quick.remember_statements()
        try:
            for _ in range(_READERS):
                self._clients.put(self.connect())
            if self.embedded:
                with translated(asks=False):
                    self._failed_writes = losses.failed_writes(self._all[0])
        except BaseException:
            self.close()
            raise

    def _take_folder(self, folder: Path) -> None:
        """Create the folder and hold its lock, which the kernel releases when the process ends."""
        try:
            # It contains telemetry, and some of its files are readable by others.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_file = (folder / "vtrack.lock").open("ab")
        except OSError as error:
            raise StoreError(
                f"cannot write to {folder} ({error.strerror}): give this user write access to it"
                " or choose another with --store-url chdb:///folder"
            ) from error
        if fcntl is not None:
            try:
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                self._lock_file.close()
                raise StoreLocked(
                    f"another process has {folder} open: stop it, query it through its API instead,"
                    " or choose another folder with --store-url chdb:///folder"
                ) from error

    def connect(self) -> Client:
        """Open another client for the caller to keep; `close` closes it.

        Raises:
            StoreError: The engine cannot open the folder.
            StoreUnavailable: No server answers.
        """
        try:
            client = get_client(**self._arguments)
        except ClickHouseError as error:
            if not self.embedded and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise StoreUnavailable(
                    f"the certificate of {self._arguments['host']}:{self._arguments['port']} is not"
                    " from a trusted authority, or is for another name: name its authority with"
                    " --store-ca-file, or correct --store-url"
                ) from error
            if not self.embedded and isinstance(error, OperationalError):
                raise StoreUnavailable(
                    f"no ClickHouse server answers at {self._arguments['host']}:"
                    f"{self._arguments['port']}: start it, or correct --store-url"
                ) from error
            kind = StoreError if self.embedded else StoreUnavailable
            raise kind(f"the store cannot be opened: {_why(error)}") from error
        except Exception as error:
            raise StoreError(f"the store cannot be opened: {_why(error)}") from error
        self._all.append(client)
        return client

    @contextlib.contextmanager
    def _reader(self) -> Generator[Client]:
        client = self._clients.get()
        try:
            yield client
        except Exception:
            if self.embedded:
                # Discard the output of the failed statement; it would precede the next result.
                with contextlib.suppress(Exception):
                    client.raw_query("SELECT 1")
            raise
        finally:
            self._clients.put(client)

    def query(
        self,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Run `sql/queries/<name>.sql` and return its rows, as columns by name.

        Args:
            name: Folder and file, such as `traces/search`.
            parameters: A value for each `{name:Type}` in the file; bound, never pasted.
            parts: SQL for the places marked in the file; see `sql.filled`.

        Raises:
            InvalidArgument: The query exceeds the engine's limits, or a pattern is invalid.
            StoreUnavailable: The store cannot answer now.
            StoreError: Any other failure.
        """
        self.settle()
        statement = sql.text("queries", name)
        return self.select(sql.filled(statement, parts) if parts else statement, parameters)

    def binary(
        self,
        name: str,
        parameters: Mapping[str, Any] | None = None,
        parts: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run a query like `query`, and return its rows in the engine's RowBinary format.

        For columns whose bytes may not be text, and for few rows with little overhead.
        """
        self.settle()
        text = sql.text("queries", name)
        text = sql.filled(text, parts) if parts else text
        statement = f"{text.rstrip().removesuffix(';')} FORMAT RowBinary"
        with self._reader() as client, translated():
            return client.raw_query(statement, parameters=dict(parameters or {}))

    def columns(
        self,
        name: str,
        parameters: Mapping[str, Any],
        parts: Mapping[str, str] | None = None,
        *,
        as_bytes: Collection[str],
    ) -> Sequence[Sequence[Any]]:
        """Run a query like `query`, and return its columns as lists; no columns if no rows.

        For many rows with little overhead. Times are nanoseconds since 1970.

        Args:
            name: Folder and file.
            parameters: As for `query`.
            parts: As for `query`.
            as_bytes: Names of the columns that are bytes and not text.
        """
        self.settle()
        text = sql.text("queries", name)
        formats: dict[str, str | dict[str, str]] = dict.fromkeys(as_bytes, "bytes")
        with self._reader() as client, translated():
            return client.query(
                sql.filled(text, parts) if parts else text,
                parameters=dict(parameters),
                query_formats={"DateTime64": "int", "Tuple": "tuple"},
                column_formats=formats,
                column_oriented=True,
            ).result_columns

    def messages(
        self, name: str, parameters: Mapping[str, Any], message: str, *, most_bytes: int
    ) -> bytes:
        """Run a query like `query`, and return its rows as length-prefixed protobuf messages.

        Args:
            name: Folder and file.
            parameters: As for `query`.
            message: Message of `sql/otlp_export.proto` whose fields are named like the columns.
            most_bytes: Return no more rows after this many bytes; at least one is returned.
        """
        self.settle()
        statement = f"{sql.text('queries', name).rstrip().removesuffix(';')} FORMAT Protobuf"
        settings: dict[str, Any] = {
            "max_result_bytes": most_bytes,
            "result_overflow_mode": "break",
            # The limit takes effect between blocks.
            "max_block_size": _BLOCK_ROWS,
            # Otherwise 0.1 may come back as an adjacent number.
            "precise_float_parsing": 1,
        }
        if self.embedded:
            settings["format_schema"] = f"{sql.export_proto_path()}:{message}"
        else:
            settings["format_schema_source"] = "string"
            settings["format_schema"] = sql.export_proto()
            settings["format_schema_message_name"] = message
        with self._reader() as client, translated():
            return client.raw_query(statement, parameters=dict(parameters), settings=settings)

    def select(
        self, statement: str, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Run a statement that is not in a file; see `query`."""
        with self._reader() as client, translated():
            result = client.query(statement, parameters=dict(parameters or {}))
            return list(result.named_results())

    def command(self, statement: str, parameters: Mapping[str, Any] | None = None) -> None:
        """Run a statement that returns nothing; raises like `insert`."""
        with self._reader() as client, self.written(client), translated(asks=False):
            client.command(statement, parameters=dict(parameters or {}))

    def insert(self, table: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
        """Insert a few rows of our own, never telemetry.

        Raises:
            StoreUnavailable: Temporary, such as a full disk or memory.
            StoreError: Any other failure.
        """
        with self._reader() as client, self.written(client), translated(asks=False):
            client.insert(table, rows, column_names=list(columns))

    @contextlib.contextmanager
    def written(self, client: Client) -> Generator[None]:
        """Raise unless the disk took everything written inside the block.

        Failed writes of others since the last `mend` count too: data reported as failed may be
        stored, but data reported as stored is.

        Raises:
            StoreUnavailable: It did not, or the same call may succeed later.
        """
        yield
        if not self.embedded:
            return
        with translated(asks=False):
            failed = losses.failed_writes(client) - self._failed_writes
        if failed:
            self.doubtful = True
            raise StoreUnavailable(
                f"{failed} writes to the disk failed: free space on it, or check whether it is"
                " failing"
            )

    def lift_limits(self) -> None:
        """Let the embedded engine's tables load however much a full disk broke in them."""
        if self.embedded:
            with self._reader() as client, self.written(client), translated(asks=False):
                losses.lift_limits(client)

    def give_way(self) -> None:
        """Let merges yield to queries and inserts; call this periodically.

        Raises:
            StoreUnavailable: Temporary; the same call may succeed later.
        """
        if self.embedded:
            with self._reader() as client, translated(asks=False):
                merging.give_way(client)

    def mend(self) -> None:
        """Remove what failed writes left in the tables, if any failed since the last call.

        Waits until nothing is read or written; a caller inside the gate must not call it.

        Raises:
            StoreUnavailable: Temporary; the same call may succeed later.
        """
        if not self.embedded:
            return
        with self._mending:
            with self._reader() as client, translated(asks=False):
                if losses.failed_writes(client) == self._failed_writes:
                    self.doubtful = False
                    return
            with self.gate.shut(), contextlib.ExitStack() as stack:
                client, *_ = [stack.enter_context(self._reader()) for _ in range(_READERS)]
                try:
                    failed = losses.failed_writes(client)
                    losses.reload(client)
                except ClickHouseError as error:
                    # Whatever the error: nothing may be written to incomplete tables.
                    raise StoreUnavailable(f"the tables cannot be loaded: {_why(error)}") from error
                _log.warning(
                    "%d writes to the disk failed: what they left half-written is in folders named"
                    " detached, and the tables have that data from elsewhere or receive it again",
                    failed - self._failed_writes,
                )
                self._failed_writes = failed
                self.doubtful = False
                self.mended += 1

    def clear(self, now_s: float) -> None:
        """Delete parts that became unreadable over 30 days ago, and log how many remain.

        Args:
            now_s: Seconds since 1970.

        Raises:
            StoreUnavailable: Temporary; the same call may succeed later.
        """
        if self.embedded:
            with self._reader() as client, translated(asks=False):
                left = losses.clear(client, now_s)
            if left:
                _log.warning(
                    "%d unreadable parts of tables are in folders named detached: they can be"
                    " deleted, and are deleted %d days after they were moved there",
                    left,
                    losses.KEPT_DAYS,
                )

    def close(self) -> None:
        """Close every client and release the folder; idempotent."""
        for client in self._all:
            with contextlib.suppress(Exception):
                client.close()
        self._all.clear()
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()


def _certified(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, has_password: bool
) -> dict[str, Any]:
    """Check certificates by loading them, and return the client arguments for them."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file:
            # Otherwise OpenSSL would prompt for the password of an encrypted key.
            context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        # OpenSSL's own errors are OSErrors, whose reason does not quote the file.
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "not PEM"
        raise SettingsError(
            f"{', '.join(map(str, filter(None, (ca_file, cert_file, key_file))))} cannot be used"
            f" ({why}): set --store-ca-file, --store-cert-file and --store-key-file to PEM files"
            " that belong together"
        ) from None
    return {
        "ca_cert": str(ca_file) if ca_file else None,
        "client_cert": str(cert_file) if cert_file else None,
        "client_cert_key": str(key_file) if key_file else None,
        # The certificate authenticates the user, unless there is a password.
        "tls_mode": "strict" if has_password else "mutual",
    }


@contextlib.contextmanager
def translated(*, asks: bool = True) -> Generator[None]:
    """Turn the engine's exceptions into ours; the original stays as `__cause__`.

    Args:
        asks: Whether it is a query. A query that exceeds the limits of time or memory is itself
            to blame; an insert that does may succeed later.
    """
    try:
        yield
    except ClickHouseError as error:
        code = getattr(error, "code", None)
        if asks and code in _UNBOUNDED:
            raise InvalidArgument(
                f"the query exceeds the engine's limits ({_why(error)}):"
                " narrow the time range or the filter"
            ) from error
        if code == _TOO_MANY_ROWS:
            raise ReadsTooMuch(
                f"the query would read more rows than it allows: {_why(error)}"
            ) from error
        if code == _NO_PATTERN:
            raise InvalidArgument(
                f"a pattern is not a valid RE2 regular expression ({_why(error)}): correct it"
            ) from error
        if code in _PASSING:
            raise StoreUnavailable(
                f"the store cannot do this at the moment: {_why(error)}"
            ) from error
        raise StoreError(f"the store refused: {_why(error)}") from error
    except OSError as error:
        raise StoreUnavailable(
            f"the store cannot do this at the moment: {os.strerror(error.errno or 0)}"
        ) from error
