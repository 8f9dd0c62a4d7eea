"""What tokens cost: the table that comes along, a file of the user's own, and whole traces."""

import math

import pytest

from otel_vtrack.errors import SettingsError
from otel_vtrack.query import prices, tokens
from otel_vtrack.query.prices import BUILT_IN, Charge, Tokens
from otel_vtrack.query.tokens import NO_MODEL, Bill, Cost

NOW = 1_790_000_000_000_000_000
FILE = """
[[price]]
model = "gpt-4.1"
input = 2
output = 8.0
cache_read = 0.5
cache_creation = 3

[[price]]
model = "house/*-small*"
provider = "House"
input = 0.1
output = 0
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "prices.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def table(file):
    return prices.load(file(FILE))


# The table that comes along


def test_known_models_have_a_price_whatever_they_are_called():
    plain = BUILT_IN.charge("gpt-4o", "openai", Tokens(1_000_000, 1_000_000), NOW)
    assert plain is not None
    assert min(plain) > 0
    for model, provider in (
        ("gpt-4o", ""),
        ("gpt-4o", "OpenAI"),
        ("gpt-4o", "something of ours"),
        ("openai/gpt-4o", ""),
        ("openai/gpt-4o", "a gateway"),
    ):
        assert BUILT_IN.charge(model, provider, Tokens(1_000_000, 1_000_000), NOW) == plain


def test_an_unknown_model_has_no_price():
    for model in ("house-model-1", "", "/", "gpt-4o\0", "🦜"):
        assert BUILT_IN.charge(model, "openai", Tokens(1, 1), NOW) is None


def test_tokens_out_of_a_cache_cost_less():
    usual = BUILT_IN.charge("gpt-4o", "openai", Tokens(1_000, 10), NOW)
    cached = BUILT_IN.charge("gpt-4o", "openai", Tokens(1_000, 10, cache_read=900), NOW)
    assert cached.input < usual.input
    assert cached.output == usual.output


def test_a_price_may_depend_on_how_much_is_asked_at_once():
    small = BUILT_IN.charge("gemini-2.5-pro", "gcp.gemini", Tokens(100_000, 0), NOW)
    large = BUILT_IN.charge("gemini-2.5-pro", "gcp.gemini", Tokens(400_000, 0), NOW)
    assert large.input > small.input * 4.5


def test_embeddings_have_a_price():
    charge = BUILT_IN.charge("text-embedding-3-small", "openai", Tokens(1_000_000, 0), NOW)
    assert charge.input > 0
    assert charge.output == 0


# A file of the user's own


def test_a_file_says_what_a_million_tokens_cost(table):
    charge = table.charge("gpt-4.1", "anyone", Tokens(1_000_000, 500_000), NOW)
    assert charge == Charge(2.0, 4.0)
    cached = Tokens(1_000_000, 0, cache_read=600_000, cache_creation=100_000)
    assert table.charge("GPT-4.1", "", cached, NOW).input == pytest.approx(0.6 + 0.3 + 0.3)


def test_what_is_not_in_the_file_is_unknown(table):
    for model, provider in (
        ("gpt-4.1-mini", ""),
        ("gpt-4o", "openai"),
        ("house/x-small", ""),
        ("gpt-4x1", ""),
    ):
        assert table.charge(model, provider, Tokens(1, 1), NOW) is None
    assert table.charge("house/x-small-2", "HOUSE", Tokens(1_000_000, 9), NOW) == Charge(0.1, 0)


def test_a_cache_that_is_told_beside_the_input_is_added_to_it(table):
    charge = table.charge("gpt-4.1", "", Tokens(100_000, 0, cache_read=1_000_000), NOW)
    assert charge.input == pytest.approx(0.2 + 0.5)


def test_the_first_price_that_fits_counts(file):
    table = prices.load(
        file(
            '[[price]]\nmodel = "a*"\ninput = 1\noutput = 1\n'
            '[[price]]\nmodel = "*"\ninput = 2\noutput = 2\n'
        )
    )
    assert table.charge("ab", "", Tokens(1_000_000, 0), NOW).input == 1
    assert table.charge("b", "", Tokens(1_000_000, 0), NOW).input == 2


def test_the_prices_that_come_along_may_follow_those_of_the_file(file):
    table = prices.load(
        file('built_in = true\n[[price]]\nmodel = "gpt-4o"\ninput = 1000\noutput = 1000\n')
    )
    assert table.charge("gpt-4o", "", Tokens(1_000_000, 0), NOW).input == 1000
    asked = ("gpt-4.1", "openai", Tokens(1_000_000, 0), NOW)
    assert table.charge(*asked) == BUILT_IN.charge(*asked)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("price = ", "is not a TOML file"),
        ("", r"there are no prices: write a \[\[price\]\]"),
        ("price = 7", "there are no prices"),
        ("price = [7]", "price 1 is not a table"),
        ("prices = []", "prices is unknown"),
        ('built_in = "yes"', "built_in must be true or false"),
        ("[[price]]\ninput = 1\noutput = 1", "price 1 has no model"),
        ('[[price]]\nmodel = ""\ninput = 1\noutput = 1', "price 1 has no model"),
        ('[[price]]\nmodel = "a"\noutput = 1', r"price 1 \(a\): input must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = 1', r"price 1 \(a\): output must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = "1"\noutput = 1', "input must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = true\noutput = 1', "input must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = -1\noutput = 1', "input must be dollars.*from 0 up"),
        ('[[price]]\nmodel = "a"\ninput = nan\noutput = 1', "input must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = inf', "output must be dollars"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = 1\nprovider = 1', "provider must be text"),
        ('[[price]]\nmodel = "a"\ninput = 1\noutput = 1\ncached = 1', "price 1 has cached"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_what_is_wrong(file, text, says):
    path = file(text)
    with pytest.raises(SettingsError, match=says) as caught:
        prices.load(path)
    assert "--prices" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"--prices: .*nowhere.* cannot be read"):
        prices.load(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="cannot be read"):
        prices.load(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not a TOML file"):
        prices.load(tmp_path / "bytes")


# Costs that telemetry tells


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"input_cost": 0.5, "output_cost": 1, "total_cost": 1.5}', (0.5, 1.0, 1.5)),
        ('{"input_cost": 0.5, "output_cost": 1}', (0.5, 1.0, 1.5)),
        ('{"total_cost": 2}', (0.0, 0.0, 2.0)),
        ("0.25", (0.0, 0.0, 0.25)),
        ("0", (0.0, 0.0, 0.0)),
        ("", None),
        ("{}", None),
        ("[1]", None),
        ("true", None),
        ("-1", None),
        ("NaN", None),
        ("1e999", None),
        ('{"total_cost": "2"}', None),
        ("[" * 100_000, None),
    ],
)
def test_a_cost_that_is_told_is_read(text, expected):
    assert prices.told(text) == expected


# Whole traces: spans are numbers, with a million tokens for a unit


def cost(table, *spans):
    """Each span is its number, its parent's, tokens in and out or None, model and told cost."""
    edges, reported, billing = [], [], []
    for span, parent, used, model, told in spans:
        edges.append(span << 32 | parent)
        if used is not None:
            taken, given = (1_000_000 * count for count in used)
            reported.append((span, taken, given, taken + given))
        if used is not None or told:
            billing.append(Bill(span, model, "", 0, 0, told))
    return tokens.cost(reported, edges, billing, table, NOW)


@pytest.fixture
def simple(file):
    return prices.load(
        file(
            '[[price]]\nmodel = "big"\ninput = 10\noutput = 20\n'
            '[[price]]\nmodel = "small"\ninput = 1\noutput = 2\n'
        )
    )


def test_cached_tokens_of_a_call_that_its_agent_reports_as_well_count_once():
    reported = [(1, 10, 2, 12), (2, 10, 2, 12)]
    bills = [Bill(1, "", "", 4, 1, ""), Bill(2, "m", "", 4, 1, "")]
    edges = [1 << 32, 2 << 32 | 1]
    assert tokens.usage(reported, edges, bills) == (10, 2, 12, 4, 1)
    assert tokens.usage(reported, [1 << 32, 2 << 32], bills) == (20, 4, 24, 8, 2)


def test_nothing_reported_costs_nothing_that_is_known(simple):
    assert cost(simple, (1, 0, None, "", "")) is None


def test_calls_side_by_side_are_added(simple):
    found = cost(
        simple, (1, 0, None, "", ""), (2, 1, (1, 1), "big", ""), (3, 1, (1, 0), "small", "")
    )
    assert found == Cost(11.0, 20.0, 31.0)


def test_a_span_that_reports_stands_for_those_below_it(simple):
    found = cost(simple, (1, 0, (3, 0), "big", ""), (2, 1, (1, 0), "small", ""))
    assert found == Cost(30.0, 0.0, 30.0)


def test_spans_below_that_report_just_as_much_know_their_models_better(simple):
    found = cost(
        simple,
        (1, 0, (3, 2), "big", ""),
        (2, 1, (1, 1), "big", ""),
        (3, 1, None, "", ""),
        (4, 3, (2, 1), "small", ""),
    )
    assert found == Cost(12.0, 22.0, 34.0)


def test_a_span_without_model_costs_what_those_below_it_do(simple):
    found = cost(
        simple,
        (1, 0, (9, 9), "", ""),
        (2, 1, (8, 8), "", ""),
        (3, 2, (1, 0), "big", ""),
        (4, 2, (1, 0), "small", ""),
    )
    assert found == Cost(11.0, 0.0, 11.0)


def test_an_unknown_model_is_named_and_its_tokens_cost_nothing(simple):
    found = cost(simple, (1, 0, (1, 0), "big", ""), (2, 0, (5, 5), "house", ""))
    assert found == Cost(10.0, 0.0, 10.0, ("house",))
    assert cost(simple, (1, 0, (1, 0), "", "")) == Cost(0, 0, 0, (NO_MODEL,))


def test_an_unknown_model_above_known_ones_is_not_asked(simple):
    found = cost(simple, (1, 0, (2, 0), "house", ""), (2, 1, (2, 0), "small", ""))
    assert found == Cost(2.0, 0.0, 2.0)


def test_a_total_alone_does_not_say_what_it_cost(simple):
    found = tokens.cost([(1, 0, 0, 7)], [1 << 32], [Bill(1, "big", "", 0, 0, "")], simple, NOW)
    assert found == Cost(0, 0, 0, ("big",))


def test_a_cost_that_is_told_stands(simple):
    told = '{"input_cost": 1.5, "output_cost": 0.5, "total_cost": 2.0}'
    assert cost(simple, (1, 0, (9, 9), "big", told)) == Cost(1.5, 0.5, 2.0)
    assert cost(simple, (1, 0, None, "", "0.25")) == Cost(0.0, 0.0, 0.25)
    assert cost(simple, (1, 0, (1, 0), "house", "0.25")) == Cost(0.0, 0.0, 0.25)
    below = (2, 1, (9, 9), "big", "")
    assert cost(simple, (1, 0, (9, 9), "", told), below) == Cost(1.5, 0.5, 2.0)
    assert cost(simple, (1, 0, (1, 0), "big", "nonsense")) == Cost(10.0, 0.0, 10.0)


def test_spans_that_are_each_others_ancestors_count_each(simple):
    found = cost(simple, (1, 2, (1, 0), "big", ""), (2, 1, (1, 0), "small", ""))
    assert found == Cost(11.0, 0.0, 11.0)
    assert cost(simple, (1, 1, (1, 0), "big", "")) == Cost(10.0, 0.0, 10.0)


def test_a_very_deep_trace_is_no_harm(simple):
    spans = [(n, n - 1, (1, 0) if n % 2 else None, "small", "") for n in range(1, 20_001)]
    assert math.isclose(cost(simple, *spans).total_cost, 1.0)
