"""docs/mapping.md has the chains of names that the mapping has."""

import re
from pathlib import Path

from otel_vtrack.query import facts
from otel_vtrack.store import sql

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = (DOCS / "mapping.md").read_text(encoding="utf-8")
VIEW = sql.text("mapping", "spans_from_otlp")


def section(title):
    return DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def documented():
    """Columns and chain of each row of the table."""
    rows = re.findall(r"^\| (`.+) \| (`.+`) \|$", section("What attributes say"), re.MULTILINE)
    names = re.compile(r"`([^`]+)`")
    return [(names.findall(columns), names.findall(chain)) for columns, chain in rows]


def mapped():
    """The names of each role, best rank first, roles in order."""
    names, codes = re.search(
        r"transform\(name, \[(.*?)\], \[(.*?)\]::Array\(UInt16\)", VIEW, re.DOTALL
    ).groups()
    pairs = zip(re.findall(r"'([^']+)'", names), map(int, re.findall(r"\d+", codes)), strict=True)
    roles = {}
    for name, code in sorted(pairs, key=lambda pair: pair[1]):
        assert code % 16 == len(roles.setdefault(code // 16, []))
        roles[code // 16].append(name)
    return roles


# What a span is has a role for each name, since what a name says is read in its own way.
TYPES = range(21, 30)


def test_the_view_and_the_document_have_the_same_chains():
    chains = [chain for role, chain in mapped().items() if role not in TYPES]
    assert sorted(chain for _, chain in documented()) == sorted(chains)


def test_the_view_and_the_document_of_searches_tell_types_by_the_same_names():
    roles = mapped()
    text = (DOCS / "search.md").read_text(encoding="utf-8")
    [row] = re.findall(r"^\| `type` \| .* by (`mlflow.*`), the first", text, re.MULTILINE)
    assert [name for role in TYPES for name in roles[role]] == re.findall(r"`([^`]+)`", row)


def test_a_name_says_one_thing():
    names = [name for chain in mapped().values() for name in chain]
    assert len(names) == len(set(names))


def test_every_documented_column_is_one_of_spans(store):
    columns = {
        row["name"] for row in store.select("SELECT name FROM system.columns WHERE table = 'spans'")
    }
    for named, _ in documented():
        assert set(named) <= columns


def test_requests_and_responses_are_looked_for_as_documented():
    text = section("Tags, request and response of a trace")
    rows = re.findall(r"^\| (?!fact|-).+ \| (`.+`) \|$", text, re.MULTILINE)
    chains = [tuple(re.findall(r"`([^`]+)`", row)) for row in rows]
    assert chains == [facts._ASKED, facts._ANSWERED, facts.SOURCE_NAMES]
