"""What people say of versions: notes and aliases."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_vtrack.errors import InvalidArgument, NotFound
from otel_vtrack.query import versions
from otel_vtrack.record import deletion
from otel_vtrack.record import versions as changes


@pytest.fixture
def shipped(send):
    """Two versions of two services each."""
    for number, (service, version) in enumerate(
        [("web", "1"), ("web", "2"), ("api", "1"), ("api", "2")]
    ):
        send({"trace": number + 1, "at": number}, service__name=service, service__version=version)


def aliases(store):
    return {
        (found.service_name, found.version): found.aliases
        for found in versions.search(store).versions
        if found.aliases
    }


def test_a_note_is_set_and_changed_and_emptied(store, shipped):
    for note in ("slow start", "fixed by 2", ""):
        changed = changes.update(store, "1", service_name="web", note=note)
        assert changed.note == note
    assert changes.update(store, "1", service_name="web").note == ""
    assert versions.get(store, "1", service_name="api").note == ""


def test_what_is_left_out_of_an_update_stays(store, shipped):
    changes.update(store, "1", service_name="web", note="kept")
    assert changes.update(store, "1", service_name="web").note == "kept"


def test_versions_are_found_by_their_notes_and_aliases(store, shipped):
    changes.update(store, "1", service_name="web", note="rolled back")
    changes.set_alias(store, "2", "champion", service_name="api")
    found = versions.search(store, filter_="note LIKE '%rolled%'").versions
    assert [(each.service_name, each.version) for each in found] == [("web", "1")]
    found = versions.search(store, filter_="alias = 'champion'").versions
    assert [(each.service_name, each.version) for each in found] == [("api", "2")]


def test_an_alias_stands_for_one_version_of_a_service_and_moves(store, shipped):
    changes.set_alias(store, "1", "champion", service_name="web")
    changes.set_alias(store, "1", "stable", service_name="web")
    changed = changes.set_alias(store, "1", "champion", service_name="api")
    assert changed.aliases == ("champion",)
    assert aliases(store) == {("web", "1"): ("champion", "stable"), ("api", "1"): ("champion",)}
    changes.set_alias(store, "2", "champion", service_name="web")
    assert aliases(store) == {
        ("web", "1"): ("stable",),
        ("web", "2"): ("champion",),
        ("api", "1"): ("champion",),
    }
    changes.set_alias(store, "1", "champion", service_name="web")
    assert aliases(store)[("web", "1")] == ("champion", "stable")


def test_an_alias_names_its_version(store, shipped):
    changes.set_alias(store, "2", "champion", service_name="web")
    assert versions.get(store, "@champion").version == "2"
    changes.set_alias(store, "@champion", "stable")
    assert changes.update(store, "@stable", note="n").aliases == ("champion", "stable")
    changes.set_alias(store, "1", "champion", service_name="api")
    assert versions.get(store, "@champion", service_name="api").version == "1"
    with pytest.raises(InvalidArgument, match="choose one"):
        versions.get(store, "@champion")


def test_an_alias_is_deleted_there_or_not(store, shipped):
    changes.delete_alias(store, "champion")
    changes.set_alias(store, "1", "champion", service_name="web")
    changes.set_alias(store, "1", "champion", service_name="api")
    with pytest.raises(InvalidArgument, match="choose one"):
        changes.delete_alias(store, "champion")
    for _ in range(2):
        changes.delete_alias(store, "champion", service_name="web")
    assert aliases(store) == {("api", "1"): ("champion",)}
    changes.delete_alias(store, "champion")
    assert aliases(store) == {}
    with pytest.raises(NotFound):
        versions.get(store, "@champion")


@pytest.mark.parametrize("alias", ["", "@champion", "two words", "ä", "a/b", "a" * 251])
def test_what_is_no_alias_is_refused(store, shipped, alias):
    for call in (
        lambda: changes.set_alias(store, "1", alias, service_name="web"),
        lambda: changes.delete_alias(store, alias),
    ):
        with pytest.raises(InvalidArgument, match="is not an alias"):
            call()


def test_a_note_may_be_long_but_not_longer(store, shipped):
    note = "n" * 10_000
    assert changes.update(store, "1", service_name="web", note=note).note == note
    with pytest.raises(InvalidArgument, match="shorten it to 10000"):
        changes.update(store, "1", service_name="web", note=note + "n")


def test_nothing_is_said_of_a_version_nobody_sent(store, shipped):
    with pytest.raises(NotFound):
        changes.update(store, "9", note="n")
    with pytest.raises(NotFound):
        changes.set_alias(store, "9", "champion")


def test_writers_do_not_lose_each_others_changes(store, shipped):
    def write(number):
        service = ("web", "api")[number % 2]
        changes.set_alias(store, "1", f"a{number}", service_name=service)
        changes.set_alias(store, str(1 + number % 4 // 2), "moving", service_name=service)
        changes.update(store, "2", service_name=service, note=f"by {number}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(write, range(16)))
    held = aliases(store)
    for service in ("web", "api"):
        named = [alias for (owner, _), names in held.items() if owner == service for alias in names]
        assert named.count("moving") == 1
        assert len([alias for alias in named if alias != "moving"]) == 8
        assert versions.get(store, "2", service_name=service).note.startswith("by ")


def test_what_was_said_goes_with_the_experiment(store, shipped, send):
    changes.update(store, "1", service_name="web", note="old")
    changes.set_alias(store, "1", "champion", service_name="web")
    deletion.delete_experiment(store, "web")
    send({"trace": 9}, service__name="web", service__version="1")
    found = versions.get(store, "1", service_name="web")
    assert (found.note, found.aliases, found.trace_count) == ("", (), 1)
