"""Binds the server's addresses, or explains why it cannot; raises the limit of open files."""

import contextlib
import errno
import socket
from typing import Final

from otel_vtrack.errors import SettingsError
from otel_vtrack.settings import flag, split_address

try:
    import resource
except ImportError:  # pragma: no cover - not POSIX
    resource = None

_FILES: Final = 65_536


def allow_files() -> None:
    """Raise the limit of open files and connections from the usual initial 1,024.

    That soft limit protects programs that use select(2), which handles no more; other programs
    should raise it themselves, up to the hard limit. Source: systemd.exec(5), LimitNOFILE.
    """
    if resource is None:  # pragma: no cover - not POSIX
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        # macOS allows less than the hard limit it reports.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def listen(name: str, address: str) -> socket.socket:
    """Listen on an address.

    Args:
        name: Name of the setting that holds the address.
        address: HOST:PORT; the first address of a host that has several. `[::]` means all
            addresses, including IPv4, as in gRPC.

    Raises:
        SettingsError: The address cannot be bound.
    """
    host, port = split_address(address)
    try:
        family, _, _, _, found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = found[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(found, family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        raise SettingsError(not_had(name, address, error)) from error


def require_free(name: str, address: str) -> None:
    """Raise as `listen` does; for gRPC, which binds by itself and gives no reason for a failure."""
    listen(name, address).close()


def not_had(name: str, address: str, error: Exception) -> str:
    """Return why an address cannot be bound and what to do."""
    match getattr(error, "errno", None):
        case errno.EADDRINUSE | None:
            reason, remedy = "another program already does", "stop it"
        case errno.EACCES | errno.EPERM:
            reason, remedy = "this user may not use the port", "allow it to"
        case errno.EADDRNOTAVAIL:
            reason, remedy = "this machine has no such address", "use an address of this machine"
        case _:
            reason, remedy = "the name is unknown", "use an address of this machine"
    return (
        f"cannot listen on {address}, because {reason}: {remedy}, or choose another with "
        f"{flag(name)} HOST:PORT, where port 0 picks a free one"
    )
