"""The keys of assessments."""

from typing import Final

from otel_vtrack.query.filter.fields import Catalogue, Field, Kind, Parameters
from otel_vtrack.query.filter.syntax import Name


def _texts(column: str, *names: str, optional: bool = True) -> dict[str, Field]:
    sql = f"a.{column}"
    field = Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''" if optional else "")
    return dict.fromkeys((column, *names), field)


def _metadata(name: Name, parameters: Parameters) -> Field:
    key = parameters.text(name.key)
    return Field(kind=Kind.ANY, sql=f"a.metadata[{key}]", present=f"mapContains(a.metadata, {key})")


# A text is compared without its JSON quotes, and a number as a number.
_VALUE: Final = Field(
    kind=Kind.ANY,
    sql="if(a.value_type = 'string', JSONExtractString(a.value), a.value)",
    number="if(a.value_type = 'number', a.number, NULL)",
    present="a.value != ''",
)
_TRACE: Final = Field(
    kind=Kind.ID, sql="a.trace_key", present="a.trace_key != toFixedString('', 16)"
)
_CHOICES: Final = {
    "assessment_type": ("FEEDBACK", "EXPECTATION"),
    "source_type": ("HUMAN", "LLM_JUDGE", "CODE"),
}


def _choice(column: str, *names: str) -> dict[str, Field]:
    sql = f"upper(a.{column})"
    field = Field(kind=Kind.TEXT, sql=sql, present=f"{sql} != ''", choices=_CHOICES[column])
    return dict.fromkeys((column, *names), field)


CATALOGUE: Final = Catalogue(
    "assessments",
    {
        **_texts("assessment_id", "id", optional=False),
        **_texts("assessment_name", "name", optional=False),
        **_choice("assessment_type", "type"),
        "trace_id": _TRACE,
        "request_id": _TRACE,
        "span_id": Field(
            kind=Kind.ID,
            sql="a.span_key",
            present="a.span_key != toFixedString('', 8)",
            digits=16,
        ),
        **_texts("experiment", "experiment_id"),
        **_texts("session_id", "session"),
        "value": _VALUE,
        **_texts("error_code", "error"),
        **_texts("error_message"),
        **_texts("rationale"),
        **_choice("source_type"),
        **_texts("source_id", "source"),
        "create_time": Field(kind=Kind.TIME, sql="a.create_time"),
        "last_update_time": Field(kind=Kind.TIME, sql="a.last_update_time"),
        **_texts("overrides"),
        "valid": Field(kind=Kind.BOOLEAN, sql="a.valid"),
    },
    {"metadata": _metadata},
    frozenset({"assessment", "attribute", "attributes"}),
)
