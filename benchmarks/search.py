"""Latency of searches over what `whole` stored: a first page of 100, counts, a histogram."""

import json
from collections.abc import Callable

from otel_vtrack.client import Client


def questions(client: Client) -> dict[str, str]:
    """Build filters from the values of a stored trace."""
    # Not one of the newest, so that a search for rare values has to look further.
    *_, info = client.search_traces(limit=100)
    spans = client.get_trace(info.trace_id).spans
    attributes = {pair.key: pair.value for span in spans for pair in span.attributes}
    answer = attributes["gen_ai.response.id"].string_value
    [asked] = json.loads(attributes["gen_ai.input.messages"].string_value)
    words = asked["parts"][0]["content"].split()
    place = f"version = '{info.version}' AND environment = '{info.environment}'"
    return {
        "everything": "",
        "version and environment": place,
        "tag": f"tag.app_version = '{info.version}'",
        "status": f"status = 'ERROR' AND {place}",
        "rare attribute": f"span.attributes.gen_ai.response.id = '{answer}'",
        "frequent attribute": "span.attributes.gen_ai.request.model = 'gpt-4.1'",
        "type of span": "span.type = 'TOOL' AND span.status = 'ERROR'",
        "a word of text": f"text LIKE '%{words[3]}%'",
    }


def report(client: Client, median_ms: Callable[[int, Callable[[], object]], float]) -> None:
    """Print the median latencies."""
    for name, text in questions(client).items():
        page = median_ms(15, lambda text=text: list(client.search_traces(text, limit=100)))
        print(f"search by {name}: {page:.0f} ms")
    asked = questions(client)["version and environment"]
    count = median_ms(15, lambda: client.count_traces(asked))
    print(f"count by version and environment: {count:.0f} ms")
    histogram = median_ms(15, lambda: client.get_trace_histogram(asked))
    print(f"histogram by version and environment: {histogram:.0f} ms")
