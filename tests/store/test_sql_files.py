"""The SQL files: repeatable, valid for one node and for a cluster, explained, used, recorded."""

import ast
import hashlib
import logging
import re
from datetime import datetime, timezone
from pathlib import Path

import pytest

import otel_vtrack
from otel_vtrack import upgrade
from otel_vtrack.errors import SchemaDrift, SchemaTooNew, StoreError
from otel_vtrack.store import migrate, schema, sql
from otel_vtrack.store.topology import Topology

FILES = [(kind, name) for kind in ("migrations", "mapping") for name in sql.names(kind)]
QUERIES = sql.names("queries")

every_file = pytest.mark.parametrize(("kind", "name"), FILES)
every_query = pytest.mark.parametrize("name", QUERIES)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def uncommented(statement):
    return re.sub(r"--[^\n]*|/\*.*?\*/", "", statement, flags=re.DOTALL)


# Migrations and mapping


def test_applying_every_file_twice_is_harmless(store, writer, otlp, contents):
    told = otlp.span(attributes={"service.version": "1"})
    writer.write_traces(otlp.request(told).SerializeToString())
    writer.write_logs(otlp.logs(otlp.record(time_unix_nano=otlp.T0)).SerializeToString())
    before, shape = contents(store), schema.text(store)
    assert all(before.values())
    every = [
        statement
        for kind, name in FILES
        for statement in store.topology.render(sql.text(kind, name))
    ]
    made = [re.search(r"^CREATE OR REPLACE VIEW (\w+)", each, re.MULTILINE) for each in every]
    last = {found[1]: at for at, found in enumerate(made) if found}
    for at, (statement, found) in enumerate(zip(every, made, strict=True)):
        # A view that a later file makes anew is of tables as they were then.
        if found is None or last[found[1]] == at:
            store.command(statement)
    store.lift_limits()
    assert contents(store) == before
    assert schema.text(store) == shape


def test_a_migrated_store_has_nothing_to_do(store):
    assert {file.state for file in migrate.status(store)} == {"applied"}
    assert [(file.kind, file.name) for file in migrate.status(store)] == FILES
    assert migrate.apply(store) == []


@every_file
def test_a_file_renders_for_one_node_without_a_word_of_clusters(kind, name):
    statements = Topology.SINGLE.render(sql.text(kind, name))
    assert statements
    for statement in statements:
        assert not re.search(
            r"ON CLUSTER|Replicated|Distributed|_local|\{cluster\}", uncommented(statement)
        )
        assert "/*@" not in statement


@every_file
def test_a_file_renders_for_a_cluster_and_the_engine_can_parse_it(store, kind, name):
    statements = Topology.CLUSTER.render(sql.text(kind, name))
    assert statements
    for statement in statements:
        [row] = store.select(
            "SELECT formatQueryOrNull({statement:String}) AS parsed", {"statement": statement}
        )
        assert row["parsed"], statement
        # Rows are inserted through the distributed table, which knows where its shards are.
        assert "ON CLUSTER '{cluster}'" in statement or row["parsed"].startswith("INSERT INTO")
        # Whatever holds rows is replicated.
        assert re.findall(r"\w*MergeTree", row["parsed"]) == re.findall(
            r"Replicated\w*MergeTree", row["parsed"]
        )


def test_the_engine_rejects_what_does_not_parse(store):
    [row] = store.select("SELECT formatQueryOrNull('CREATE TABEL x') AS parsed")
    assert row["parsed"] is None


def misplaced(statements):
    """Statements on one of a pair of tables that come before their turn.

    Rows go through the distributed table into the local one. So what is added is added to the
    local one first, and what is dropped is dropped from the distributed one first.
    """
    wrong = []
    seen = set()
    for statement in map(uncommented, statements):
        found = re.search(
            r"^\s*(CREATE|ALTER|DROP)\s+TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?(\w+)", statement
        )
        if not found:
            continue
        verb, table = found.groups()
        dropping = verb == "DROP" or (verb == "ALTER" and "DROP COLUMN" in statement)
        kind = "drop" if dropping else verb
        seen.add((kind, table))
        name = table.removesuffix("_local")
        first = name if dropping else f"{name}_local"
        paired = f"{name}_local" in " ".join(statements)
        if paired and (kind, first) not in seen:
            wrong.append(statement)
    return wrong


@every_file
def test_a_cluster_gets_its_local_tables_before_its_distributed_ones(kind, name):
    assert misplaced(Topology.CLUSTER.render(sql.text(kind, name))) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "CREATE TABLE IF NOT EXISTS t_local ON CLUSTER c",
            "CREATE TABLE IF NOT EXISTS t AS t_local",
        ),
        ("ALTER TABLE t_local ADD COLUMN x", "ALTER TABLE t ADD COLUMN x"),
        ("ALTER TABLE t DROP COLUMN x", "ALTER TABLE t_local DROP COLUMN x"),
        ("DROP TABLE IF EXISTS t", "DROP TABLE IF EXISTS t_local"),
    ],
)
def test_the_check_of_the_order_notices(first, second):
    assert misplaced([first, second]) == []
    assert misplaced([second, first])


def test_no_two_migrations_have_the_same_number():
    numbers = [name.split("_", 1)[0] for name in sql.names("migrations")]
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert numbers == sorted(set(numbers))


def test_a_view_is_named_after_its_target_and_its_source():
    for name in sql.names("mapping"):
        [statement] = Topology.SINGLE.render(sql.text("mapping", name))
        head = uncommented(statement)
        target, source = name.split("_from_")
        # What comes in several ways goes through a door of its own.
        into = rf"(?:{target}|\w+_inbox)"
        assert re.search(rf"CREATE OR REPLACE MATERIALIZED VIEW {name}\s+TO {into} AS", head)
        assert source in head


def test_a_cluster_derives_from_local_rows_and_writes_to_all_shards():
    for name in sql.names("mapping"):
        [statement] = Topology.CLUSTER.render(sql.text("mapping", name))
        target, source = name.split("_from_")
        into = rf" TO (?:{target}|\w+_inbox) AS"
        assert re.search(into, statement), "not past the shard it belongs to"
        if not re.search(r"FROM \w+_inbox\b", statement):
            assert f"FROM {source}_local " in statement


@pytest.mark.parametrize("kind", ["migrations", "mapping", "queries"])
def test_every_file_opens_by_saying_what_it_is(kind):
    for name in sql.names(kind):
        path = Path(sql.__file__).parent / kind / f"{name}.sql"
        assert path.read_text().startswith("-- "), name


def test_a_query_runs_without_its_comments():
    for name in sql.names("queries"):
        assert "--" not in sql.text("queries", name), name


# What is recorded


def record(store, kind, name, sha256):
    store.insert(
        "schema_migrations",
        [[kind, name, sha256, datetime.now(timezone.utc)]],
        ["kind", "name", "sha256", "applied_at"],
    )


def test_an_edited_migration_is_refused_and_the_message_says_what_to_do(store):
    name = sql.names("migrations")[2]
    record(store, "migrations", name, digest("what it was"))
    assert [file.name for file in migrate.status(store) if file.state == "changed"] == [name]
    with pytest.raises(SchemaDrift, match=f"{name} was edited.*restore it.*new file"):
        migrate.apply(store)


def test_a_store_from_a_newer_release_is_refused_and_the_message_says_what_to_do(store):
    record(store, "migrations", "9999_from_the_future", digest("x"))
    for call in (migrate.status, migrate.apply):
        with pytest.raises(SchemaTooNew, match=r"9999_from_the_future.*upgrade.*--store-url"):
            call(store)


def test_a_newer_mapping_alone_is_no_reason_to_refuse(store):
    record(store, "mapping", "evaluations_from_log_records", digest("x"))
    assert migrate.apply(store) == []


def test_a_file_that_takes_long_is_logged_while_it_runs_and_when_it_is_done(
    store, caplog, monkeypatch
):
    monkeypatch.setattr(upgrade, "_LONG_SECONDS", 0.3)
    caplog.set_level(logging.DEBUG, "otel_vtrack.upgrade")
    quick, slow = sorted(sql.names("mapping"))[:2]
    for name in (quick, slow):
        record(store, "mapping", name, digest("what it was"))

    def begins(file):
        log.begins(file)
        if file.name == slow:
            store.command("SELECT sleep(0.9)")

    with upgrade.Upgrade() as log:
        migrate.apply(store, log.ran, begins=begins)
    said = [(each.levelname, each.getMessage()) for each in caplog.records]
    for (level, text), (expected, start) in zip(
        said,
        [
            ("DEBUG", f"applied mapping/{quick} in 0."),
            ("INFO", f"mapping/{slow} is still being applied"),
            ("INFO", f"applied mapping/{slow} in "),
            ("INFO", "the store is up to date: applied 2 files in "),
        ],
        strict=True,
    ):
        assert level == expected
        assert text.startswith(start)
    caplog.clear()
    with upgrade.Upgrade() as log:
        migrate.apply(store, log.ran, begins=log.begins)
    assert caplog.text == "", "nothing was to be done"


def test_a_changed_mapping_is_applied_again(store, writer, otlp, contents):
    name = "traces_from_spans"
    store.command(f"DROP TABLE {name}")
    record(store, "mapping", name, digest("what it was"))
    [file] = [file for file in migrate.status(store) if file.state == "changed"]
    assert (file.kind, file.name) == ("mapping", name)
    assert file.statements == tuple(Topology.SINGLE.render(sql.text("mapping", name)))
    assert [ran.name for ran in migrate.apply(store)] == [name]
    assert migrate.apply(store) == []
    writer.write_traces(otlp.request(otlp.span()).SerializeToString())
    assert len(contents(store)["traces"]) == 1


def test_what_failed_half_way_is_made_up_for_by_the_next_run(store, contents, writer, otlp):
    there = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
    for table in store.select(f"{there} ORDER BY engine LIKE '%MergeTree' OR engine = 'Null'"):
        store.command(f"DROP TABLE {table['name']} SYNC")
    assert store.select(there) == []
    assert {file.state for file in migrate.status(store)} == {"pending"}
    told = []

    def stop_after_three(file):
        # Each is told of as soon as it is done.
        told.append((file.kind, file.name))
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate.apply(store, stop_after_three)
    done = [file for file in migrate.status(store) if file.state == "applied"]
    assert [(file.kind, file.name) for file in done] == told == FILES[:3]
    assert [(file.kind, file.name) for file in migrate.apply(store)] == FILES[3:]
    writer.write_traces(otlp.request(otlp.span()).SerializeToString())
    assert len(contents(store)["versions"]) == 1


def test_schema_sql_is_current(store):
    kept = (Path(sql.__file__).parent / "schema.sql").read_text(encoding="utf-8")
    assert kept == schema.text(store), "run `make schema` and commit what it wrote"


# Queries

_HOLE = re.compile(r"\{(\w+):([^{}]+)\}")


def holes(name):
    return dict(_HOLE.findall(sql.text("queries", name)))


def dummy(type_, *, text=""):
    if found := re.fullmatch(r"Array\((.*)\)", type_):
        return [dummy(found[1], text=text)]
    if found := re.fullmatch(r"Map\((\w+), (\w+)\)", type_):
        return {dummy(found[1], text=text): dummy(found[2], text=text)}
    if type_ in {"String", "LowCardinality(String)", "Nullable(String)"}:
        return text
    if type_ == "Bool":
        return False
    if type_ == "Date":
        return "2026-01-01"
    assert re.fullmatch(r"(Nullable\()?(U?Int|Float)\d+\)?", type_), f"no dummy for {type_}"
    return 1


def run(store, name, parameters):
    """Run a query; one that compares may say that there is nothing to compare."""
    try:
        store.query(name, parameters)
    except StoreError as error:
        if "require both samples to be non empty" not in str(error):
            raise


def test_there_are_queries():
    assert QUERIES


@every_query
def test_a_query_is_one_static_statement_that_knows_no_cluster(name):
    text = sql.text("queries", name)
    assert Topology.SINGLE.render(text) == Topology.CLUSTER.render(text)
    assert len(Topology.SINGLE.render(text)) == 1
    assert "_local" not in text
    assert uncommented(text).lstrip().startswith(("SELECT", "WITH"))


@every_query
def test_a_query_over_telemetry_is_bounded(name):
    folder = name.split("/")[0]
    if folder in {"analysis", "flags", "progression", "timeline", "versions"}:
        # That asks for one row of what people recorded.
        few = name == "timeline/was_declared"
        bounds = re.findall(r"max_(?:execution_time|memory_usage) = \d+", sql.text("queries", name))
        assert few or len(bounds) == 2


@every_query
def test_a_query_is_understood_and_runs_on_an_empty_store(store, name):
    parameters = {hole: dummy(type_) for hole, type_ in holes(name).items()}
    text = sql.text("queries", name).strip().removesuffix(";")
    assert store.select(f"EXPLAIN QUERY TREE {text}", parameters)
    run(store, name, parameters)


# None longer than a span id in hex: of longer ones the queries say that they are no ids.
HOSTILE = [
    "'",
    '"',
    "`",
    "\\",
    "\\'",
    "'; DROP TABLE t;",
    "' OR 1 = 1 --",
    "%s %(x)s %% %",
    "{x:String}",
    "{} {0} {{",
    "$1 ? :x @x",
    "/* */ -- #",
    "a\tb\nc\r",
    "NULL",
    "\\N",
    "nul\x00byte",
    "🦜 ' 漢",
    "[1, '2']",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_stays_a_value(store, text):
    [row] = store.select(
        "SELECT {x:String} AS x, {xs:Array(String)} AS xs, length({x:String}) AS n",
        {"x": text, "xs": [text, "b"]},
    )
    assert row == {"x": text, "xs": [text, "b"], "n": len(text.encode())}


@pytest.mark.slow
@every_query
def test_a_query_takes_hostile_texts_for_values_in_every_hole(store, writer, otlp, contents, name):
    writer.write_traces(otlp.request(otlp.span()).SerializeToString())
    before = contents(store)
    texts = {hole: type_ for hole, type_ in holes(name).items() if "String" in type_}
    quiet = {hole: dummy(type_) for hole, type_ in holes(name).items()}
    for text in HOSTILE:
        hostile = {hole: dummy(type_, text=text) for hole, type_ in texts.items()}
        run(store, name, quiet | hostile)
    assert contents(store) == before


def texts_in_code():
    """Every text in the package's code."""
    for path in sorted(Path(otel_vtrack.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_query_is_asked_for_by_name():
    assert set(QUERIES) <= set(texts_in_code())


def test_every_name_that_is_asked_for_has_a_file():
    for path in sorted(Path(otel_vtrack.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "query"
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                assert node.args[0].value in QUERIES, f"{path}:{node.lineno}"
