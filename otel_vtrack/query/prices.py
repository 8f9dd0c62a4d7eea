"""Token prices, from genai-prices or from a file of the user's own.

The genai-prices table is part of its package and needs no network: it has the prices as of the day
of its release.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from otel_vtrack.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same by another name
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

DAY_NS: Final = 86_400_000_000_000
_MILLION: Final = 1_000_000
_FIRST_DAY_NS: Final = date(1970, 1, 1).toordinal() * DAY_NS
_KNOWN: Final = 4_096
_NAMES: Final = ("model", "provider", "input", "output", "cache_read", "cache_creation")


class Tokens(NamedTuple):
    """The tokens of one model call; `input` includes cached tokens."""

    input: int
    output: int
    cache_read: int = 0
    cache_creation: int = 0


class Charge(NamedTuple):
    """Dollars, for the prompt and for the completion."""

    input: float
    output: float


_Price = Callable[[Tokens, int], Charge]
"""Charges for tokens used at a time, in nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Dollars per million tokens; cached tokens cost as much as other input unless given."""

    input: float
    output: float
    cache_read: float | None = None
    cache_creation: float | None = None

    def charge(self, tokens: Tokens, at_ns: int = 0) -> Charge:
        """Charge for tokens; the time does not matter."""
        del at_ns
        read = self.input if self.cache_read is None else self.cache_read
        creation = self.input if self.cache_creation is None else self.cache_creation
        plain = tokens.input - tokens.cache_read - tokens.cache_creation
        prompt = plain * self.input + tokens.cache_read * read + tokens.cache_creation * creation
        return Charge(prompt / _MILLION, tokens.output * self.output / _MILLION)


class Step(NamedTuple):
    """A rate with the conditions under which it applies.

    Attributes:
        since_ns: From this time on, in nanoseconds since 1970.
        day_from_ns: From this time of day on.
        day_until_ns: Until this time of day; the length of a day for its end.
        above: Only for prompts with more tokens than this.
    """

    since_ns: int
    day_from_ns: int
    day_until_ns: int
    above: int
    rate: Rate

    def holds(self, tokens: Tokens, at_ns: int) -> bool:
        """Return whether the conditions hold."""
        return (
            at_ns >= self.since_ns
            and self.day_from_ns <= at_ns % DAY_NS < self.day_until_ns
            and tokens.input > self.above
        )


@dataclass(frozen=True, slots=True)
class Schedule:
    """The price of a model if it depends on the time or on the size of the prompt.

    Attributes:
        steps: The last step whose conditions hold applies. Those of the first always hold.
    """

    steps: tuple[Step, ...]

    def charge(self, tokens: Tokens, at_ns: int) -> Charge:
        """Charge for tokens used at a time."""
        at_ns = max(at_ns, 0)
        found = next(step for step in reversed(self.steps) if step.holds(tokens, at_ns))
        return found.rate.charge(tokens)


class Prices:
    """A table of prices. Thread-safe.

    Args:
        find: Returns the price of a model of a provider, which may be empty; None if the table does
            not know the model.
    """

    def __init__(self, find: Callable[[str, str], _Price | None]) -> None:
        self._find = lru_cache(_KNOWN)(find)

    def rate(self, model: str, provider: str) -> "Rate | None":
        """Return the rate of a model if it depends on neither the time nor the prompt's size."""
        # A bound method refers to its owner, a Rate or a Schedule.
        rate = getattr(self._find(model, provider), "__self__", None)
        return rate if isinstance(rate, Rate) else None

    def steps(self, model: str, provider: str) -> tuple[Step, ...]:
        """Return the price of a model in full.

        Returns:
            As in `Schedule`; empty if the table does not know the model.
        """
        price = self._find(model, provider)
        owner = getattr(price, "__self__", None)
        if isinstance(owner, Rate):
            return (_always(owner),)
        return owner.steps if isinstance(owner, Schedule) else ()

    def charge(self, model: str, provider: str, tokens: Tokens, at_ns: int) -> Charge | None:
        """Return the charge for a model call; None if the table does not know the model.

        Args:
            model: The name in telemetry.
            provider: Likewise; empty if telemetry names none.
            tokens: The tokens used. Some instrumentation reports cached tokens in addition to the
                input rather than as part of it; if they exceed the input, this is assumed.
            at_ns: The time of the call in nanoseconds since 1970, because prices change.
        """
        price = self._find(model, provider)
        if price is None:
            return None
        cached = tokens.cache_read + tokens.cache_creation
        if cached > tokens.input:
            tokens = tokens._replace(input=tokens.input + cached)
        return price(tokens, at_ns)


def _always(rate: Rate) -> Step:
    return Step(0, 0, DAY_NS, -1, rate)


def load(file: Path | None) -> Prices:
    """Load a table of prices; None for that of genai-prices.

    Raises:
        SettingsError: The file is missing or invalid; the message says where.
    """
    if file is None:
        return Prices(_built_in)
    try:
        text = file.read_text(encoding="utf-8")
        read = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(
            f"--prices: {file} cannot be read ({error.strerror}): correct the path"
        ) from error
    except ValueError as error:
        raise SettingsError(f"--prices: {file} is not a TOML file: {error}") from error
    try:
        return _table(read)
    except ValueError as error:
        raise SettingsError(f"--prices: {file}: {error}") from None


# A file of the user's own


class _Rule(NamedTuple):
    model: re.Pattern[str]
    provider: str
    rate: Rate

    def covers(self, model: str, provider: str) -> bool:
        if self.provider and self.provider != provider.lower():
            return False
        return self.model.fullmatch(model) is not None


def _table(read: Mapping[str, Any]) -> Prices:
    if unknown := sorted(set(read) - {"price", "built_in"}):
        raise ValueError(
            f"{unknown[0]} is unknown: write [[price]] tables, and optionally built_in"
        )
    built_in = read.get("built_in", False)
    if not isinstance(built_in, bool):
        raise ValueError("built_in must be true or false")  # noqa: TRY004 - of what somebody wrote
    entries = read.get("price", [])
    if not isinstance(entries, list) or not (entries or built_in):
        raise ValueError("there are no prices: write a [[price]] table for each model")
    rules = [
        _rule(number, entry) for number, entry in enumerate(cast("list[Any]", entries), start=1)
    ]

    def find(model: str, provider: str) -> _Price | None:
        for rule in rules:
            if rule.covers(model, provider):
                return rule.rate.charge
        return _built_in(model, provider) if built_in else None

    return Prices(find)


def _rule(number: int, entry: Any) -> _Rule:
    if not isinstance(entry, dict):
        raise ValueError(f"price {number} is not a table: write [[price]]")  # noqa: TRY004
    fields = cast("dict[str, Any]", entry)
    if unknown := sorted(set(fields) - set(_NAMES)):
        raise ValueError(
            f"price {number} has {unknown[0]}, which is unknown: it may have {', '.join(_NAMES)}"
        )
    model, provider = fields.get("model"), fields.get("provider", "")
    if not isinstance(model, str) or not model:
        raise ValueError(f"price {number} has no model: write its name, with * for any text")
    if not isinstance(provider, str):
        raise ValueError(f"price {number} ({model}): provider must be text")  # noqa: TRY004
    rates: dict[str, float] = {}
    for name in _NAMES[2:]:
        dollars = fields.get(name)
        if dollars is None and name in {"cache_read", "cache_creation"}:
            continue
        if (rate := _dollars(dollars)) is None:
            raise ValueError(
                f"price {number} ({model}): {name} must be dollars per million tokens, from 0 up"
            )
        rates[name] = rate
    pattern = ".*".join(re.escape(part) for part in model.split("*"))
    return _Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), provider.lower(), Rate(**rates))


# The table of genai-prices


def _built_in(model: str, provider: str) -> _Price | None:
    """Look up a model; an unknown provider does not make its model unknown."""
    head, slash, tail = model.partition("/")
    tries: list[tuple[str, str | None]] = [(model, provider or None)]
    if provider:
        tries.append((model, None))
    if slash:
        # The form that gateways use: openai/gpt-4o.
        tries += [(tail, head), (tail, None)]
    for name, whose in tries:
        found = _look_up(name, whose)
        if found is not None:
            return found
    return None


def _look_up(model: str, provider: str | None) -> _Price | None:
    # Takes 0.2 s and 30 MB, so only load it when a price is needed.
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    try:
        sample = calc_price(Usage(input_tokens=1, output_tokens=1), model, provider_id=provider)
    except (LookupError, ValueError):
        return None
    if sample.model_price.input_mtok is None and sample.model_price.output_mtok is None:
        # It is not charged by the token.
        return None
    known = sample.model.prices
    if not isinstance(known, list):
        steps = _tiers(known, 0, 0, DAY_NS)
    else:
        # Where no condition holds, the first price applies.
        steps = _tiers(known[0].prices, 0, 0, DAY_NS)
        for each in known:
            for when in _times(each.constraint):
                steps += _tiers(each.prices, *when)
    return steps[0].rate.charge if len(steps) == 1 else Schedule(tuple(steps)).charge


def _tiers(price: Any, since_ns: int, day_from_ns: int, day_until_ns: int) -> list[Step]:
    """Return the steps at a time; the later ones are for larger prompts."""
    found = [
        getattr(price, f"{name}_mtok", None)
        for name in ("input", "output", "cache_read", "cache_write")
    ]
    limits = {tier.start for each in found for tier in getattr(each, "tiers", ())}
    return [
        Step(since_ns, day_from_ns, day_until_ns, above, Rate(*_rates(found, above)))
        for above in (-1, *sorted(limits))
    ]


def _rates(prices: Sequence[Any], above: int) -> tuple[float, float, float | None, float | None]:
    rates: list[float | None] = []
    for each in prices:
        tiers = getattr(each, "tiers", None)
        if tiers is not None:
            reached = [tier.price for tier in tiers if tier.start <= above]
            each = reached[-1] if reached else each.base  # noqa: PLW2901 - what it comes to
        rates.append(None if each is None else float(each))
    return rates[0] or 0.0, rates[1] or 0.0, rates[2], rates[3]


def _times(constraint: Any) -> list[tuple[int, int, int]]:
    """Return from when on a price applies, and at which times of day; in UTC, as in the table."""
    if constraint is None:
        return [(0, 0, DAY_NS)]
    if (day := getattr(constraint, "start_date", None)) is not None:
        return [(day.toordinal() * DAY_NS - _FIRST_DAY_NS, 0, DAY_NS)]
    start, end = (_of_day(each) for each in (constraint.start_time, constraint.end_time))
    if end < start:
        return [(0, start, DAY_NS), (0, 0, end)]
    return [(0, start, end)]


def _of_day(moment: time) -> int:
    if moment.tzinfo is not None:
        moment = datetime.combine(date(1970, 1, 1), moment).astimezone(timezone.utc).time()
    whole = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    return (whole // timedelta(microseconds=1) + moment.microsecond) * 1_000


def told(text: str) -> tuple[float, float, float] | None:
    """Parse a reported cost into dollars for the prompt, for the completion and in total.

    Args:
        text: A JSON object with MLflow's keys `input_cost`, `output_cost` and `total_cost`, or a
            number, which is the total. If it is neither, the result is None. `filter.costs` parses
            it in SQL, so irregular JSON is parsed as the engine does.
    """
    if not text:
        return None
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        parts = [_dollars(fields.get(name)) for name in ("input_cost", "output_cost")]
        total = _dollars(fields.get("total_cost"))
        if total is None and parts == [None, None]:
            return None
        given = [part or 0.0 for part in parts]
        return given[0], given[1], sum(given) if total is None else total
    total = _dollars(value)
    return None if total is None else (0.0, 0.0, total)


def _refuse(text: str) -> Any:
    raise ValueError(text)


def _finite(text: str) -> float:
    if (number := float(text)) in {float("inf"), -float("inf")}:
        raise ValueError(text)
    return number


def _first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def _whole(text: str) -> int | None:
    return number if -(1 << 63) <= (number := int(text)) < 1 << 64 else None


_JSON: Final = json.JSONDecoder(
    parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_first
)


def _dollars(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < float("inf") else None


BUILT_IN: Final = load(None)
"""The table of genai-prices."""
