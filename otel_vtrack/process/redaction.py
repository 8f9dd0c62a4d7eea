"""The redaction settings: what to hide in telemetry, and how."""

import difflib
import hmac
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import Self

from otel_vtrack.process.detectors import DETECTORS
from otel_vtrack.process.patterns import Pattern
from otel_vtrack.variables import expanded

Action = Literal["mask", "hash", "drop"]

URL_CREDENTIALS: Final = "url_credentials"
_SHORTEST_KEY: Final = 16


class RedactRule(BaseModel):
    """One redaction rule.

    Attributes:
        name: The name in counts.
        keys: Attribute names, at any depth of a value; `*`, `?` and `[...]` match as in file names.
        pattern: What to hide, in RE2 syntax; only its group, if it has one. With keys, it applies
            to their values only.
        detectors: Built-in detectors to use in place of a pattern.
        action: What to do with a value, or with a match in it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    keys: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    pattern: str | None = None
    detectors: tuple[str, ...] = ()
    action: Action = "mask"

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            Pattern(pattern)
        return pattern

    @field_validator("detectors")
    @classmethod
    def _known(cls, detectors: tuple[str, ...]) -> tuple[str, ...]:
        return known(detectors)

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if not (self.keys or self.pattern or self.detectors):
            raise ValueError(f"{self.name} hides nothing: give it keys, a pattern or detectors")
        if self.pattern and self.detectors:
            raise ValueError(
                f"{self.name} has both a pattern and detectors: split it into two rules"
            )
        return self


class Redact(BaseModel):
    """All redaction settings.

    Attributes:
        url_credentials: Mask what comes before the `@` in URLs.
        detectors: Built-in detectors that mask everywhere.
        rules: Further rules, in this order.
        hash_key: The key for `action: hash`, at least 16 bytes.
        hash_key_file: A file that contains the key, instead of `hash_key`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url_credentials: bool = True
    detectors: tuple[str, ...] = ()
    rules: tuple[RedactRule, ...] = ()
    hash_key: str | None = Field(default=None, repr=False)
    hash_key_file: Path | None = None

    @field_validator("hash_key", mode="before")
    @classmethod
    def _from_environment(cls, given: Any) -> Any:
        return expanded(given)

    @field_validator("detectors")
    @classmethod
    def _known(cls, detectors: tuple[str, ...]) -> tuple[str, ...]:
        return known(detectors)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1 or name == URL_CREDENTIALS or name in self.detectors:
                raise ValueError(
                    f"rules: {name} is used twice, or is a detector's name; give each its own name"
                )
        if self.hash_key and self.hash_key_file:
            raise ValueError("hash_key: hash_key_file is set too; leave one of the two out")
        if self.hash_key and len(self.hash_key.encode()) < _SHORTEST_KEY:
            raise ValueError(f"hash_key: it has fewer than {_SHORTEST_KEY} bytes")
        hashes = any(rule.action == "hash" for rule in self.rules)
        if hashes and not (self.hash_key or self.hash_key_file):
            raise ValueError(
                "rules: hashing needs a key, or short values can be guessed; set hash_key_file"
            )
        return self

    def key(self) -> bytes:
        """Return the key for hashing.

        Raises:
            OSError: The key file cannot be read.
            ValueError: The key is too short.
        """
        if not self.hash_key_file:
            return (self.hash_key or "").encode()
        found = self.hash_key_file.read_bytes().rstrip(b"\r\n")
        if len(found) < _SHORTEST_KEY:
            raise ValueError(f"it has fewer than {_SHORTEST_KEY} bytes")
        return found


def known(detectors: tuple[str, ...]) -> tuple[str, ...]:
    """Return the detectors named by a list in the settings, in which `all` means every one.

    Raises:
        ValueError: No detector has one of the names.
    """
    if "all" in detectors:
        return tuple(DETECTORS)
    for name in detectors:
        if name not in DETECTORS:
            near = difflib.get_close_matches(name.lower(), DETECTORS, n=1)
            hint = f", did you mean {near[0]}" if near else ""
            raise ValueError(
                f"there is no detector {name[:40]!r}{hint}: there are {', '.join(DETECTORS)}"
            )
    # In the order of DETECTORS.
    return tuple(name for name in DETECTORS if name in detectors)


def hashed(key: bytes, value: bytes) -> bytes:
    """Return the first half (128 bits) of a value's HMAC-SHA256, in hexadecimal."""
    return hmac.digest(key, value, "sha256").hex()[:32].encode()
