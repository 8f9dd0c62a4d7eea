"""Convert messages to Arrow tables and pandas DataFrames; needs `otel-vtrack[analysis]`."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from otel_vtrack.client import columns
from otel_vtrack.client.columns import Column, Kind
from otel_vtrack.client.values import as_json, listed

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_HINT: Final = "{} is missing: pip install 'otel-vtrack[analysis]'"


class Table:
    """Collects messages batch by batch, so that only their columns stay in memory.

    Args:
        descriptor: Descriptor of the messages.
        names: Names of the columns; see `columns.chosen`.

    Raises:
        ImportError: pyarrow is missing.
        ValueError: There is no such column.
    """

    def __init__(self, descriptor: Any, names: Sequence[str] | None) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
        except ImportError:
            raise ImportError(_HINT.format("pyarrow")) from None
        self._arrow: Any = pa
        self._order = None if names is None else listed(names)
        self._columns, self._spread = columns.chosen(descriptor, self._order)
        self._schema = pa.schema([self._field(column) for column in self._columns])
        self._batches: list[Any] = []
        self._made: dict[str, list[Any]] = {
            f"{each.start}.{each.key}": [] for each in self._spread if each.key is not None
        }
        self._count = 0

    def add(self, messages: Iterable[Any]) -> None:
        """Add messages as rows."""
        rows = list(messages)
        arrays = [
            self._arrow.array([self._fit(column, column.read(row)) for row in rows], field.type)
            for column, field in zip(self._columns, self._schema, strict=True)
        ]
        if self._columns:
            self._batches.append(self._arrow.record_batch(arrays, schema=self._schema))
        for row in rows:
            for spread in self._spread:
                for name, value in spread.entries(row).items():
                    made = self._made.setdefault(name, [])
                    made += [None] * (self._count - len(made))
                    made.append(value)
            self._count += 1

    def arrow(self) -> "pa.Table":  # pyright: ignore[reportUnknownParameterType]
        """Return all rows as an Arrow table."""
        made = {name: self._inferred(values) for name, values in sorted(self._made.items())}
        whole = self._arrow.Table.from_batches(self._batches, self._schema)
        found = {name: whole.column(name) for name in whole.column_names} | made
        ordered = [name for name in self._ordered(found) if name in found]
        fields = [
            self._schema.field(name)
            if name in whole.column_names
            else self._arrow.field(name, found[name].type)
            for name in ordered
        ]
        return self._arrow.table(
            [found[name] for name in ordered], schema=self._arrow.schema(fields)
        )

    def pandas(self) -> "pd.DataFrame":
        """Return all rows as a DataFrame.

        Times are in UTC, durations are Timedelta; maps and values of any type are Python objects.

        Raises:
            ImportError: pandas is missing.
        """
        try:
            import pandas as pd  # noqa: PLC0415 - an extra, and slow to load
        except ImportError:
            raise ImportError(_HINT.format("pandas")) from None
        table = self.arrow()
        frame: Any = table.to_pandas(maps_as_pydicts="strict")
        for field in table.schema:
            if field.nullable and self._arrow.types.is_integer(field.type):
                # As floats, large integers would lose digits, and the type would depend on the
                # data.
                mapper = {field.type: pd.Int64Dtype()}.get
                frame[field.name] = table.column(field.name).to_pandas(types_mapper=mapper)
            elif field.metadata and b"json" in field.metadata:
                texts = table.column(field.name).to_pylist()
                values = [None if text is None else json.loads(text) for text in texts]
                frame[field.name] = pd.Series(values, dtype=object, index=frame.index)
        return frame

    def _ordered(self, found: Iterable[str]) -> list[str]:
        """Return column names in the requested order."""
        order: list[str] = []
        for name in self._order or ["*"]:
            if name == "*":
                order += (column.name for column in self._columns)
            elif name.endswith(".*"):
                order += (each for each in found if each.startswith(name[:-1]))
            else:
                order.append(name)
        return list(dict.fromkeys(order))

    def _field(self, column: Column) -> Any:
        made = self._arrow.field(column.name, self._type(column), nullable=column.optional)
        return made.with_metadata({"json": "1"}) if column.kind is Kind.JSON else made

    def _type(self, column: Column) -> Any:
        arrow = self._arrow
        if column.kind is Kind.MAP:
            return arrow.map_(arrow.string(), arrow.string())
        if column.kind is Kind.ROW:
            return arrow.struct([(each.name, self._type(each)) for each in column.inside])
        if column.kind is Kind.LIST:
            [*inside] = column.inside
            if not inside[0].name:
                return arrow.list_(self._type(inside[0]))
            return arrow.list_(arrow.struct([(each.name, self._type(each)) for each in inside]))
        return {
            Kind.TEXT: arrow.string(),
            Kind.INTEGER: arrow.int64(),
            Kind.UNSIGNED: arrow.uint64(),
            Kind.NUMBER: arrow.float64(),
            Kind.BOOLEAN: arrow.bool_(),
            Kind.TIME: arrow.timestamp("ns", tz="UTC"),
            Kind.LENGTH: arrow.duration("ns"),
            Kind.BYTES: arrow.binary(),
            Kind.JSON: arrow.string(),
        }[column.kind]

    def _fit(self, column: Column, value: Any) -> Any:  # noqa: PLR0911 - one for each kind
        if value is None:
            return None
        if column.kind is Kind.JSON:
            return as_json(value)
        if column.kind is Kind.MAP:
            return list(value.items())
        if column.kind is Kind.ROW:
            return {each.name: self._fit(each, value[each.name]) for each in column.inside}
        if column.kind is Kind.LIST:
            [first, *_] = column.inside
            if not first.name:
                return [self._fit(first, each) for each in value]
            return [
                {inner.name: self._fit(inner, each[inner.name]) for inner in column.inside}
                for each in value
            ]
        return value

    def _inferred(self, values: list[Any]) -> Any:
        """Make a column of the type that holds all values; JSON text if there is none."""
        values = values + [None] * (self._count - len(values))
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int, float} and kinds:
            kind = self._arrow.int64() if kinds == {int} else self._arrow.float64()
        elif kinds == {bool}:
            kind = self._arrow.bool_()
        else:
            kind = self._arrow.string()
            if kinds - {str}:
                values = [None if value is None else as_json(value) for value in values]
        try:
            return self._arrow.chunked_array([self._arrow.array(values, kind)])
        except (OverflowError, self._arrow.ArrowInvalid):
            texts = [None if value is None else as_json(value) for value in values]
            return self._arrow.chunked_array([self._arrow.array(texts, self._arrow.string())])
