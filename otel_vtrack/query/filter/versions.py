"""The keys of versions."""

from dataclasses import replace
from typing import Final

from otel_vtrack.query.filter.fields import Catalogue, Field, Kind, Parameters
from otel_vtrack.query.filter.syntax import Name


def _texts(column: str, *names: str, optional: bool = True) -> dict[str, Field]:
    sql = f"v.{column}"
    field = Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''" if optional else "")
    return dict.fromkeys((column, *names), field)


def _numbers(column: str, *names: str) -> dict[str, Field]:
    return dict.fromkeys((column, *names), Field(kind=Kind.NUMBER, sql=f"v.{column}"))


def _flag(name: Name, parameters: Parameters) -> Field:
    flag = parameters.text(name.key)
    return Field(
        kind=Kind.ANY,
        sql="f.variant",
        around=lambda inner: f"arrayExists(f -> f.flag = {flag} AND {inner}, v.flags)",
    )


PLACES: Final[dict[str, Field]] = _texts("environment") | _texts("deployment_id", "deployment")
"""Keys for where a version ran; they select the rows that are summed."""

COST: Final = "v.cost"
"""Marks conditions and sort keys that need the cost of versions."""

CATALOGUE: Final = Catalogue(
    "versions",
    {
        **_texts("experiment", "experiment_id", optional=False),
        **_texts("service_name", "service"),
        **_texts("version", "name", "app_version"),
        **PLACES,
        **_texts("git_commit", "commit"),
        **_texts("git_branch", "branch"),
        **_texts("git_dirty", "dirty"),
        **_texts("repository_url", "repository"),
        **_texts("note"),
        "first_seen": Field(kind=Kind.TIME, sql="v.first_seen"),
        "last_seen": Field(kind=Kind.TIME, sql="v.last_seen"),
        **_numbers("trace_count", "traces"),
        **_numbers("error_trace_count", "error_count", "errors"),
        **_numbers("session_count", "sessions"),
        **_numbers("user_count", "users"),
        **dict.fromkeys(
            ("cost", "total_cost"),
            Field(kind=Kind.NUMBER, sql=COST, present=f"{COST} IS NOT NULL"),
        ),
        "alias": Field(
            kind=Kind.TEXT,
            sql="alias",
            around=lambda inner: f"arrayExists(alias -> {inner}, v.aliases)",
        ),
    },
    {"flag": _flag, "flags": _flag},
    frozenset({"attribute", "attributes", "version"}),
)

SORTED_BY: Final = replace(
    CATALOGUE,
    keys={
        **CATALOGUE.keys,
        # A version may have run in several places.
        **{name: replace(field, around=str) for name, field in PLACES.items()},
    },
)
"""The keys that `order_by` accepts."""
