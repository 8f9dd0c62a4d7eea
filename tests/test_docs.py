"""The documentation names every setting and option, and none that does not exist."""

import re
from pathlib import Path

import pytest

from otel_vtrack import settings
from otel_vtrack.cli.group import group

DOCS = Path(__file__).parents[1] / "docs"
SERVER = (DOCS / "server.md").read_text()


def rows():
    """Name, variable and default of each row of the table of settings."""
    return re.findall(r"^\| `(--[a-z-]+)` \| `([A-Z_]+)` \| (.+?) \| \S", SERVER, re.MULTILINE)


def section(command):
    return SERVER.split(f"## `vtrack {command}`", 1)[1].split("\n## ", 1)[0]


def options_of(command):
    found = group.get_command(None, command)
    return {name for option in found.params for name in option.opts if name.startswith("--")}


def test_every_setting_is_documented_and_every_documented_one_exists():
    assert [(flag, variable) for flag, variable, _ in rows()] == [
        (settings.flag(name), settings.variable(name)) for name in settings.Settings.model_fields
    ]


def test_documented_defaults_are_those_that_apply(monkeypatch):
    from otel_vtrack.cli import options  # noqa: PLC0415

    for flag, _, default in rows():
        field = settings.Settings.model_fields[flag[2:].replace("-", "_")]
        if field.default_factory is None:
            assert default == f"`{options.shown(field.default)}`", flag


def test_every_setting_is_an_option_of_serve_with_help_that_names_its_variable():
    for option in group.get_command(None, "serve").params:
        assert option.help
        if option.name != "config":
            assert settings.variable(option.name) in option.help
    expected = {settings.flag(name) for name in settings.Settings.model_fields} | {"--config"}
    assert options_of("serve") == expected


def test_every_option_of_migrate_is_documented_and_every_documented_one_exists():
    assert set(re.findall(r"`(--[a-z-]+)`", section("migrate"))) == options_of("migrate")


def test_every_variable_in_the_documentation_exists():
    named = set(re.findall(r"OTEL_VTRACK_[A-Z_]+", SERVER))
    known = {settings.variable(name) for name in settings.Settings.model_fields}
    assert named == known | {settings.FILE_VARIABLE}


def test_every_count_of_what_is_received_is_documented_and_every_documented_one_exists():
    from otel_vtrack.ingest.commit import Counts  # noqa: PLC0415

    told = SERVER.split("## What is counted", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`.+`) \| \S", told, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(Counts.__slots__)


def test_every_call_of_the_api_is_documented_and_every_documented_one_exists():
    from otel_vtrack import api  # noqa: PLC0415

    rows = re.findall(
        r"^\| `(\w+Service)` \| (.+) \|$", (DOCS / "api.md").read_text(), re.MULTILINE
    )
    documented = {
        f"{service}/{call}" for service, calls in rows for call in re.findall(r"`(\w+)`", calls)
    }
    served = {m.path.removeprefix("/otel_vtrack.v1.") for s in api.SERVICES for m in s.methods}
    assert documented == served


@pytest.mark.parametrize("command", group.list_commands(None))
def test_every_command_says_what_it_does(command):
    found = group.get_command(None, command)
    assert found.get_short_help_str()


def test_every_key_of_processing_is_documented_and_every_documented_one_exists():
    from otel_vtrack.process import enrichment, redaction  # noqa: PLC0415
    from otel_vtrack.process.detectors import DETECTORS  # noqa: PLC0415

    page = (DOCS / "processing.md").read_text()
    tables = re.findall(r"(?m)^\| (?:key|detector|name)[^\n]*\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", page)
    keys = [re.findall(r"(?m)^\| `(\w+)` \|(?: `?([^|]*?)`? \|)?", table) for table in tables]
    models = (enrichment.Enrich, enrichment.EnrichRule, redaction.Redact, redaction.RedactRule)
    for model, rows in zip(models, keys[:4], strict=True):
        assert [key for key, _ in rows] == list(model.model_fields)
        for key, default in rows:
            field = model.model_fields[key]
            assert (default == "needed") == field.is_required(), key
            if isinstance(field.default, bool):
                assert default == str(field.default).lower(), key
    about = re.findall(r"(?m)^\| `(\w+)` \| (.*) \|$", tables[4])
    assert about == [(name, detector.about) for name, detector in DETECTORS.items()]
    status = {"enriched_resources", "redacted"}
    assert {key for key, _ in keys[5]} == status
    for short, name in enrichment.SHORT_NAMES.items():
        assert f"`{short}`" in page
        assert f"`{name}`" in page


def test_every_key_of_sampling_is_documented_with_its_default():
    from otel_vtrack.cli import options  # noqa: PLC0415
    from otel_vtrack.sample.settings import Sample  # noqa: PLC0415

    text = (DOCS / "sampling.md").read_text()
    defaults = {
        name: "needed" if field.is_required() else options.shown(field.default)
        for name, field in Sample.model_fields.items()
    }
    told = re.findall(r"^\| `(\w+)` \| `?([\w.]+)`? \| \S", text, re.MULTILINE)
    assert [name for name, _ in told] == list(defaults)
    for name, default in told:
        shown = defaults[name].removesuffix(".0").replace(".0MiB", "MiB").replace("None", "none")
        assert default == shown, name
