"""Searching traces by where their code came from: what versions know must change no answer."""

import random
from operator import itemgetter

import pytest

from otel_vtrack.query import trace_search
from otel_vtrack.query.filter import compile_traces

RESOURCE = {
    "git_commit": "vcs__ref__head__revision",
    "git_branch": "vcs__ref__head__name",
    "git_dirty": "vtrack__vcs__dirty",
}
COMMITS = ("", "aaa", "aab", "bbb")
commit, branch, dirty = map(itemgetter, RESOURCE)
FILTERS = {
    "git_commit = 'aaa'": lambda s: commit(s) == "aaa",
    "git_commit != 'aaa'": lambda s: commit(s) not in {"", "aaa"},
    "NOT git_commit = 'aaa'": lambda s: commit(s) != "aaa",
    "NOT git_commit != 'aaa'": lambda s: commit(s) in {"", "aaa"},
    "git_commit IN ('bbb', 'ccc')": lambda s: commit(s) == "bbb",
    "git_commit LIKE 'aa%'": lambda s: commit(s).startswith("aa"),
    "git_commit IS NULL": lambda s: not commit(s),
    "NOT git_commit IS NULL": lambda s: bool(commit(s)),
    "has(git_commit)": lambda s: bool(commit(s)),
    "git_commit = 'ccc'": lambda _: False,
    "metadata.`mlflow.source.git.commit` = 'bbb'": lambda s: commit(s) == "bbb",
    "commit = 'aab' AND branch = 'main' AND NOT dirty = 'true'": (
        lambda s: commit(s) == "aab" and branch(s) == "main" and dirty(s) != "true"
    ),
    "git_commit = 'aab' OR git_dirty = 'true'": (
        lambda s: commit(s) == "aab" or dirty(s) == "true"
    ),
    "NOT (git_commit = 'aaa' OR git_branch = 'main')": (
        lambda s: commit(s) != "aaa" and branch(s) != "main"
    ),
}


@pytest.mark.slow
def test_traces_are_found_by_the_code_of_their_root(store, writer, make_spans):
    draw = random.Random(1)
    sources = {}

    def send(first, last):
        sent = []
        for number in range(first, last):
            # Version 1 has its commits one after the other, and the others have them at once.
            version = draw.choice("123")
            sources[number] = {
                "git_commit": COMMITS[number // 12] if version == "1" else draw.choice(COMMITS),
                "git_branch": "main" if version == "1" else draw.choice(["main", "next"]),
                "git_dirty": "" if version == "1" else draw.choice(["", "true"]),
            }
            place = {
                "service__version": version,
                "deployment__environment__name": draw.choice(["dev", "production"]),
            }
            root = {"trace": number, "at": number * 60_000}
            child = {**root, "span": 2, "parent": 1}
            other = {"git_commit": draw.choice(COMMITS), "git_branch": "child"}
            for span, said in ((child, other), (root, sources[number]))[draw.randrange(2) :]:
                resource = {RESOURCE[key]: value for key, value in said.items()}
                sent.append(make_spans(span, **place, **resource).SerializeToString())
        for part in range(3):
            writer.write_traces(b"".join(sent[part::3]))

    send(1, 46)
    for text, holds in FILTERS.items():
        wanted = {number for number, source in sources.items() if holds(source)}
        found = trace_search.search(store, text=text).traces
        assert {int(each.trace_id, 16) for each in found} == wanted, text
        assert trace_search.count(store, text=f"NOT ({text})") == len(sources) - len(wanted)


def test_versions_know_the_code_of_most_traces(store, writer, make_spans):
    """Without a look at their spans, which is what makes a search by commit fast."""

    def send(*numbers, **resource):
        sent = [make_spans({"trace": each, "at": each * 1_000}, **resource) for each in numbers]
        writer.write_traces(b"".join(each.SerializeToString() for each in sent))

    send(1, 2, 3, service__version="1", vcs__ref__head__revision="a")
    send(5, 6, 7, service__version="1", vcs__ref__head__revision="b")
    send(1, 2, 3, 4, service__version="2", vcs__ref__head__revision="b")
    store.command("TRUNCATE TABLE spans")
    assert trace_search.count(store, text="git_commit = 'a'") == 3
    send(8, service__version="1", vcs__ref__head__revision="a")
    assert trace_search.count(store, text="git_commit = 'a'") == 1


@pytest.mark.parametrize("mixed", [False, True])
def test_traces_are_sorted_by_the_code_of_their_root(store, writer, make_spans, mixed):
    commits = dict(zip(range(1, 13), 3 * ["b", "a", "", "c"], strict=True))
    for number, commit in commits.items():
        # One that versions tell, or several of one version; and children that say otherwise.
        version = "1" if mixed and number != 1 else commit or "none"
        root = {"trace": number, "at": number * 60_000}
        for span, said in ((root, commit), ({**root, "span": 2, "parent": 1}, "child")):
            source = {"vcs__ref__head__revision": said} if said else {}
            place = {"deployment__id": "child" if said == "child" else "root"}
            request = make_spans(span, service__version=version, **place, **source)
            writer.write_traces(request.SerializeToString())
    there = [number for number in reversed(commits) if commits[number]]
    missing = [number for number in reversed(commits) if not commits[number]]
    keys = (("metadata.`mlflow.source.git.commit`", False), ("git_commit DESC", True))
    for order, backwards in keys:
        wanted = sorted(there, key=commits.get, reverse=backwards)
        if backwards:
            wanted = sorted(there, key=lambda it: (-ord(commits[it]), -it))
        found, token = [], ""
        while True:
            page = trace_search.search(store, order_by=[order], page_size=7, page_token=token)
            found += [int(each.trace_id, 16) for each in page.traces]
            if not (token := page.next_page_token):
                break
        assert found == wanted + missing


def test_where_versions_say_which_code_they_ran_no_span_is_asked_for_an_order():
    order = compile_traces(None, ["git_commit"], mixed=lambda _: False).order
    assert order.on_row
    assert "spans" not in order.sql + order.joins
    order = compile_traces(None, ["git_commit"], mixed=lambda _: True).order
    assert not order.on_row
    assert "version_sources" in order.joins
