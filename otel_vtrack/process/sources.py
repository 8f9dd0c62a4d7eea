"""Attribute sources other than the settings: this process's environment, and mounted files.

Files are checked at most once a second, when a request is received. A file that is half-written
or invalid changes nothing: the last valid content remains in effect.
"""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import unquote

import pydantic
import yaml

from otel_vtrack import semconv
from otel_vtrack.process.enrichment import SHORT_NAMES, DeploymentFile
from otel_vtrack.stamps import Stamp, stamp

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_PREFIX: Final = "OTEL_VTRACK_"
_NAMES: Final = {_PREFIX + name.upper(): name for name in SHORT_NAMES}
_TAGS: Final = _PREFIX + "TAGS"
_LARGEST_FILE: Final = 1 << 20
# A file written this recently may be incomplete.
_SETTLES_AFTER_SECONDS: Final = 1.0
_ASSIGNMENT: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_./-]*)\s*=\s*(.*)")
_ANNOTATION: Final = "resource.opentelemetry.io/"
_LABELS: Final = {
    # In ascending priority: the last label present wins.
    "controller-revision-hash": semconv.DEPLOYMENT_ID,
    "pod-template-hash": semconv.DEPLOYMENT_ID,
    "app.kubernetes.io/version": semconv.SERVICE_VERSION,
}


class Watched(Generic[_T]):
    """The content of files, read again when one of them changes.

    Args:
        paths: The files.
        read: Converts their texts, None for a missing file. Raises ValueError if they are invalid,
            without quoting them.
        nothing: The value until they are first read successfully.

    Attributes:
        value: The result of the last successful read.
    """

    def __init__(
        self, paths: tuple[Path, ...], read: Callable[[list[str | None]], _T], nothing: _T
    ) -> None:
        self._paths = paths
        self._read = read
        self._seen: object = None
        self._said = ""
        self.value = nothing
        self.look(settled=True)

    def look(self, *, settled: bool = False) -> bool:
        """Read the files if they changed, and return whether their value changed.

        Args:
            settled: Treat them as complete, even if they were written just now.
        """
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        now = time.time()
        if not settled and any(
            each and 0 <= now - each.mtime_ns / 1e9 < _SETTLES_AFTER_SECONDS for each in stamps
        ):
            return False
        try:
            texts = [
                self._text(path) if each else None
                for path, each in zip(self._paths, stamps, strict=True)
            ]
            if self._stamps() != stamps:
                return False
            found = self._read(texts)
        except OSError as error:
            # Retried at the next check, because the cause may go away without the files changing.
            self._say(error.strerror or "")
            return False
        except (ValueError, RecursionError) as error:
            # Do not read the same files again until they change.
            self._seen = stamps
            deep = isinstance(error, RecursionError)
            self._say("it is nested too deeply" if deep else str(error))
            return False
        self._seen = stamps
        self._said = ""
        changed, self.value = found != self.value, found
        if changed:
            _log.info("enrich: read %s", ", ".join(map(str, self._paths)))
        return changed

    def _stamps(self) -> list[Stamp | None]:
        return [stamp(path) for path in self._paths]

    @staticmethod
    def _text(path: Path) -> str:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ValueError("it is larger than 1 MiB")
        return text

    def _say(self, reason: str) -> None:
        if reason != self._said:
            self._said = reason
            _log.warning(
                "enrich: %s: %s; the previous content stays in effect",
                ", ".join(map(str, self._paths)),
                reason,
            )


def of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes from OTEL_VTRACK_VERSION and the like, and from OTEL_VTRACK_TAGS.

    Nothing else: what a CI system or a platform sets for this process does not describe the
    services that send to it.
    """
    found: dict[str, str] = {}
    for member in environment.get(_TAGS, "").split(","):
        name, equals, value = member.partition("=")
        if equals and name.strip() and value.strip():
            found[unquote(name.strip())] = unquote(value.strip())
    for variable, name in _NAMES.items():
        if value := environment.get(variable, "").strip():
            found[SHORT_NAMES[name]] = value
    return found


def podinfo(folder: Path) -> Watched[dict[str, str]]:
    """Watch `labels` and `annotations` in a Kubernetes downward API folder."""
    return Watched((folder / "labels", folder / "annotations"), _of_podinfo, {})


def _of_podinfo(texts: list[str | None]) -> dict[str, str]:
    labels, annotations = (_downward(text or "") for text in texts)
    if texts == [None, None]:
        raise ValueError("the files do not exist yet")
    found = {name: labels[label] for label, name in _LABELS.items() if labels.get(label)}
    for annotation, value in annotations.items():
        if annotation.startswith(_ANNOTATION) and value:
            found[annotation.removeprefix(_ANNOTATION)] = value
    return found


def _downward(text: str) -> dict[str, str]:
    """Parse lines of `key="value"`, with values quoted as in Go; skip other lines."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if not equals:
            continue
        try:
            found[key] = str(json.loads(value))
        except ValueError:
            # Go quotes some values in ways JSON cannot parse; none of those is a version.
            continue
    return found


def deployment_file(path: Path) -> Watched[DeploymentFile]:
    """Watch a file that describes the deployment: YAML, JSON, or lines of `KEY=VALUE`."""
    return Watched((path,), _of_deployment_file, DeploymentFile())


def _of_deployment_file(texts: list[str | None]) -> DeploymentFile:
    [text] = texts
    if text is None:
        raise ValueError("the file does not exist yet")
    given = _assignments(text)
    if given is None:
        try:
            # All values stay strings: 1.10 is a version.
            given = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - creates only strings
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f" at line {mark.line + 1}" if mark else ""
            raise ValueError(f"it is not YAML, JSON or KEY=VALUE{place}") from None
    try:
        found = DeploymentFile.of(given, _NAMES)
    except pydantic.ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(map(str, mistake["loc"]))
        raise ValueError(f"{where}: {mistake['msg']}") from None
    return found


def _assignments(text: str) -> dict[str, str] | None:
    """Parse lines of `KEY=VALUE`, quoted or not; return None if the first line is no such line."""
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            continue
        match = _ASSIGNMENT.fullmatch(line)
        if not match:
            if found:
                raise ValueError("a line is not KEY=VALUE, though the first is")
            return None
        name, value = match[1], match[2].strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[name] = value
    return found or None
