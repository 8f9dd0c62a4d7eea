import random
import re

from otel_vtrack.query import conclusions, export
from otel_vtrack.store import sql

NAMES = sorted(
    set(re.findall(r"'(\w+\.[\w.]+|version|env\w*)'", sql.text("mapping", "spans_from_otlp")))
)
PLAIN = [
    *("x", "y", '"quoted"', '"', "12", "0", "007", "9" * 19, "0123456789abcdef", "a/b"),
    *(12, 0, 2**63 - 1, True, False, b"\xff"),
    '{"input_tokens": 1, "output_tokens": 2, "total_tokens": 4}',
    '{"output_tokens":3,"cache_read_input_tokens":0}',
]
STRANGE = [
    *("+5", "-1", "1e3", " 7", "7\n", "", "\u00e9", "a\nb", "\n\x03\n\x01a", "\x00", "\u0663"),
    *(str(2**64 - 1), str(2**64), -1, 2.5, 3.0, float("nan"), b"5", ["img:1", "img:2"], []),
    *('{"input_tokens": 1, "input_tokens": 2}', '{"input_tokens": "5"}', '{"input_tokens": 1.0}'),
    *('{"input_tokens": 01}', "{}", "{", "[1, 2]", '{"x": 100000000000000000000}', "null"),
    *('{"input_tokens": 1}\n', '{"input_tokens": 1, "x": {}}', ' {"input_tokens": 1}'),
]


def drawn(draw, most):
    names = draw.sample(NAMES, draw.randint(0, most))
    if draw.random() < 0.3:
        names.append("mlflow.chat.tokenUsage")
    return {name: draw.choice(PLAIN if draw.random() < 0.9 else STRANGE) for name in names}


def test_what_is_concluded_is_what_the_mapping_concludes(store, writer, make_spans, trace_id):
    draw = random.Random(5)
    for _ in range(16):
        resource = {name.replace(".", "__"): text for name, text in drawn(draw, 6).items()}
        numbers = [draw.randrange(1 << 32) for _ in range(250)]
        spans = [{"span": number, "attributes": drawn(draw, 5)} for number in numbers]
        request = make_spans(*spans, **resource)
        # A name may come twice.
        for span in request.resource_spans[0].scope_spans[0].spans[:50]:
            span.attributes.extend(list(span.attributes)[::-1])
            for pair in span.attributes[: len(span.attributes) // 2]:
                pair.value.string_value = draw.choice(["a", "z", "3", ""])
        # Or have a list.
        for span in request.resource_spans[0].scope_spans[0].spans[50:80]:
            for pair in span.attributes[:1]:
                pair.value.array_value.values.add().string_value = "x"
        writer.write_traces(request.SerializeToString())
    concluded = 0
    for span, said in export.whole(store, trace_id(), 0, (1 << 32) - 1):
        resource = conclusions.told_by(span.resource.attributes)
        found = conclusions.of_span(span.attributes, resource)
        git = span.git_commit, span.git_branch, span.git_dirty, span.repository_url
        if found is not None:
            assert found == (said, *git), (span.attributes, span.resource)
            concluded += 1
    assert 1_000 < concluded < 4_000
