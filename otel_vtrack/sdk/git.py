"""Queries git about the folder the application runs in, within a second.

Runs the git program, as only it knows worktrees, include files and every storage format. It may be
slow (a cold disk, a huge tree) or stuck (a dead network mount), so the queries run in parallel,
each in its own process, and those without an answer in time are left out.
"""

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from otel_vtrack import semconv
from otel_vtrack.sdk import guest
from otel_vtrack.sdk.values import Value

GIVES: Final = frozenset(
    {
        semconv.VCS_REF_HEAD_REVISION,
        semconv.VCS_REF_HEAD_NAME,
        semconv.VCS_REPOSITORY_URL_FULL,
        semconv.VTRACK_VCS_DIRTY,
    }
)
TIME_LIMIT_SECONDS: Final = 1.0

_LONGEST_ANSWER: Final = 1 << 16
"""Bytes; `status` lists every change, but one is enough to know that the tree is dirty."""

_COMMIT: Final = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")

_QUESTIONS: Final = {
    "revision": ("rev-parse", "--verify", "--quiet", "HEAD"),
    "branch": ("symbolic-ref", "--short", "--quiet", "HEAD"),
    "remotes": ("config", "--null", "--get-regexp", r"^remote\..*\.url$"),
    # Untracked files do not count, as in `git describe --dirty`: running the app creates some.
    "changes": ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty"),
}

_HOST: Final = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\])(:\d+)?")
_AT: Final = re.compile("@|%40")
"""After a host it may end a password that contains a slash, or belong to another address."""


@lru_cache(maxsize=1)
def detect() -> dict[str, Value]:
    """Return the attributes of the repository around the current folder; empty outside of one.

    Blocks for at most `TIME_LIMIT_SECONDS`, even when git hangs. Cached, as a program that changes
    folder later is still the one that was started here.
    """
    answers: dict[str, str] = {}
    # In a thread, because not even kill() reliably ends a process stuck in the kernel.
    reader = threading.Thread(target=_ask, args=(answers,), name="vtrack-git", daemon=True)
    reader.start()
    reader.join(TIME_LIMIT_SECONDS)
    return _attributes(dict(answers))


def without_credentials(url: str) -> str:
    """Return a repository's address without user, password, query and trailing `.git`.

    `git@host:owner/name.git` and ssh:// addresses become https://, so that a repository has one
    address however it was cloned. Empty when the address cannot be parsed, as any part of it could
    then be a password.
    """
    address, _, query = url.strip().partition("?")
    if "://" not in address:  # git's short form, [user@]host:path; or a path, even a Windows one
        address = address.rpartition("@")[2]
        address = re.sub(r"^([^:/\\]{2,}):/?", r"https://\1/", address)
    if "://" not in address:
        address = address.rstrip("/").removesuffix(".git")
        return "" if _AT.search(address + query) else address
    try:
        scheme, host, path, _, fragment = urlsplit(address)
    except ValueError:
        return ""
    host = host.rpartition("@")[2].lower()
    if not (_HOST.fullmatch(host) or scheme == "file"):
        return ""
    if _AT.search(path + fragment + query):
        return ""
    if scheme in {"ssh", "git+ssh", "git"}:
        scheme = "https"
        host = re.sub(r":\d+$", "", host)
    path = path.partition(";")[0].rstrip("/").removesuffix(".git")
    return urlunsplit((scheme, host, path, "", ""))


def without_user(url: str) -> str:
    """Return an address without user and password, otherwise unchanged."""
    return re.sub(r"^([A-Za-z][\w+.-]*://)[^/?#]*@", r"\1", url.strip())


def _folder_in_repository() -> Path | None:
    """Return the current folder if it is inside a repository, else None."""
    try:
        folder = Path.cwd()
        inside = any((parent / ".git").exists() for parent in (folder, *folder.parents))
    except OSError:  # the folder is gone, or a parent is not readable
        return None
    return folder if inside else None


def _ask(answers: dict[str, str]) -> None:
    """Fill `answers` with the output of each query that git answers successfully and in time."""
    # Most deployed code is in no repository; then no process is started.
    folder = _folder_in_repository()
    if folder is None:
        return
    import shutil  # noqa: PLC0415 - a quarter of the time that importing all of ours takes
    import tempfile  # noqa: PLC0415

    program = shutil.which("git")
    # A relative path would be in the current folder, which may contain downloaded files.
    if not program or not Path(program).is_absolute():
        return
    deadline = time.monotonic() + TIME_LIMIT_SECONDS * 0.9
    environment = {name: it for name, it in os.environ.items() if not _points_elsewhere(name)}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    with guest.shield("reading git"), tempfile.TemporaryDirectory() as scratch:
        # No fsmonitor: the repository chooses that program, and it stays as a daemon. No network:
        # in a partial clone, `status` may try to fetch missing objects.
        command = (program, "-c", "core.fsmonitor=false", "-c", "protocol.allow=never")
        running: list[tuple[str, Path, subprocess.Popen[bytes]]] = []
        for name, question in _QUESTIONS.items():
            # Into files: a pipe held open by a stray grandchild would block us.
            path = Path(scratch, name)
            with path.open("wb") as output:
                process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                    [*command, *question],
                    cwd=folder,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            running.append((name, path, process))
        for name, path, process in running:
            try:
                code = process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _kill(process)
                guest.debug("git %s took too long and was skipped", name)
                threading.Thread(target=process.wait, name="vtrack-git-reap", daemon=True).start()
                continue
            if code == 0:
                with path.open("rb") as output:
                    answers[name] = output.read(_LONGEST_ANSWER).decode(errors="replace").strip()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill git and any programs it started, such as the repository's filters."""
    if os.name != "posix":
        process.kill()
        return
    with suppress(OSError):  # it has just ended
        os.killpg(process.pid, signal.SIGKILL)


def _points_elsewhere(variable: str) -> bool:
    """Return whether a variable, as set in a git hook, may point git at another repository."""
    settings = variable.startswith("GIT_CONFIG_") and variable != "GIT_CONFIG_PARAMETERS"
    return variable.startswith("GIT_") and not settings


def _attributes(answers: dict[str, str]) -> dict[str, Value]:
    if not _COMMIT.fullmatch(answers.get("revision", "")):  # no commit yet, or not readable
        return {}
    found: dict[str, Value] = {semconv.VCS_REF_HEAD_REVISION: answers["revision"]}
    if answers.get("branch"):  # none on a detached HEAD
        found[semconv.VCS_REF_HEAD_NAME] = answers["branch"]
    remotes: dict[str, str] = {}
    for entry in answers.get("remotes", "").split("\0"):
        name, _, url = entry.partition("\n")
        if url:
            remotes.setdefault(name, url)
    url = remotes.get("remote.origin.url") or next(iter(remotes.values()), "")
    if url:
        found[semconv.VCS_REPOSITORY_URL_FULL] = without_credentials(url)
    if "changes" in answers:
        found[semconv.VTRACK_VCS_DIRTY] = bool(answers["changes"])
    return found
