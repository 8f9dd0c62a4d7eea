"""Exports a server's data to files."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from otel_vtrack.client import Client
from otel_vtrack.errors import InvalidArgument
from otel_vtrack.transfer import pages
from otel_vtrack.transfer.files import State, open_sink
from otel_vtrack.transfer.items import Counts, What

STANDARD_OUTPUT = "-"


def export_to(
    output: str | Path,
    client: Client,
    what: What | None = None,
    *,
    format: str = "otlp-json",  # noqa: A002 - the usual name
    asked: Mapping[str, str] | None = None,
    on_page: Callable[[Counts], object] = lambda _: None,
) -> Counts:
    """Write all data of a server, or a part of it, and return how much that was.

    An interrupted export resumes when it is called again with the same arguments:
    `<output>.state` records its progress. Data that reached the server meanwhile may or may not
    be included.

    Args:
        output: A file for `otlp-json` and `jsonl`, `-` for standard output; a folder for `otlp`
            and `parquet`.
        client: A client of the server.
        what: Which part; None for everything.
        format: One of FORMATS.
        asked: What identifies the same export when it is called again, where `what` itself would
            differ, for example in times relative to now.
        on_page: Called after each page with what was written so far.

    Raises:
        InvalidArgument: The output already exists, or does not suit the format.
        grpc.RpcError: The server does not respond, or rejects the filter.
    """
    what = what or What()
    path = None if str(output) == STANDARD_OUTPUT else Path(output)
    state = State(path) if path else None
    saved = state.load() if state else None
    question = {"format": format, **(what.as_json() if asked is None else asked)}
    if saved is not None and saved["question"] != question:
        raise InvalidArgument(
            f"{output}.state is from another export: use its options, or delete both and start over"
        )
    if saved is None and path is not None and path.exists():
        raise InvalidArgument(f"{output} already exists: choose another name, or delete it")
    if saved:
        what = What.from_json(saved["what"])
    counts = Counts(**saved["counts"]) if saved else Counts()
    sink = open_sink(format, path, sys.stdout.buffer)
    try:
        place = pages.START
        if saved:
            sink.resume(saved["mark"])
            place = (saved["place"][0], saved["place"][1])
        elif state and (mark := sink.commit(force=False)) is not None:
            state.save(_state(question, what, place, mark, counts))
        for items, behind in pages.read(client, what, place):
            for item in items:
                sink.write(item)
                counts.add(item)
            mark = sink.commit(force=behind is None)
            if state and behind and mark is not None:
                state.save(_state(question, what, behind, mark, counts))
            on_page(counts)
    finally:
        sink.close()
    if state:
        state.clear()
    return counts


def _state(
    question: dict[str, str],
    what: What,
    place: pages.Place,
    mark: dict[str, object],
    counts: Counts,
) -> dict[str, object]:
    return {
        "question": question,
        "what": what.as_json(),
        "place": list(place),
        "mark": mark,
        "counts": asdict(counts),
    }
