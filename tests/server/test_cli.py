"""The command `vtrack` as a whole, and `vtrack migrate`."""

import os
import re
import subprocess
import sys

import pytest

from otel_vtrack import __version__
from otel_vtrack.store import sql

FILES = [f"{kind}/{name}" for kind in ("migrations", "mapping") for name in sql.names(kind)]


@pytest.fixture
def run(tmp_path):
    """Run `vtrack` with arguments, in an empty folder."""

    def run(*arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "otel_vtrack", *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if not k.startswith("OTEL_")} | environment,
        )

    return run


def test_it_says_its_version(run):
    assert run("--version").stdout == f"vtrack {__version__}\n"


def test_it_lists_its_commands(run):
    done = run("--help")
    assert done.returncode == 0
    assert {"serve", "migrate"} <= set(re.findall(r"^  (\w+)  ", done.stdout, re.MULTILINE))


def test_an_unknown_command_is_a_mistake_of_its_user(run):
    done = run("serv")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_help_does_not_load_the_engine(run):
    code = (
        "import sys; from otel_vtrack.cli.group import group;"
        " group(['serve', '--help'], standalone_mode=False);"
        " sys.exit('chdb' in sys.modules or 'grpc' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize("missing", ["click", "pydantic_settings", "clickhouse_connect"])
def test_without_the_server_half_it_says_how_to_get_it(missing):
    code = (
        "import sys, importlib.util, importlib.abc\n"
        "class Absent(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda n, *a: None if n == {missing!r} else find(n, *a)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "sys.argv = ['vtrack', 'migrate', '--status', '--store-url', 'chdb:///nowhere/at/all']\n"
        "from otel_vtrack.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == "vtrack needs the server half: pip install 'otel-vtrack[server]'\n"
    assert done.returncode == 2


def test_migrate_brings_a_store_up_to_date_once(run, tmp_path):
    url = ("--store-url", f"chdb://{tmp_path}/store")
    before = run("migrate", "--status", *url).stdout.splitlines()
    assert [line.split() for line in before] == [["pending", file] for file in FILES]
    assert run("migrate", *url).stdout.splitlines() == [f"applied  {file}" for file in FILES]
    after = run("migrate", "--status", OTEL_VTRACK_STORE_URL=url[1]).stdout.splitlines()
    assert [line.split() for line in after] == [["applied", file] for file in FILES]
    assert run("migrate", *url).stdout == "nothing to do: the store is up to date\n"
    assert run("migrate", "--dry-run", *url).stdout == ""


def test_a_dry_run_prints_statements_and_runs_none(run, tmp_path):
    url = ("--store-url", f"chdb://{tmp_path}/store")
    printed = run("migrate", "--dry-run", *url).stdout
    for file in FILES:
        assert f"-- {file} (pending)" in printed
    assert "CREATE TABLE IF NOT EXISTS spans\n" in printed
    assert "pending" in run("migrate", "--status", *url).stdout


def test_status_and_dry_run_are_asked_one_at_a_time(run):
    done = run("migrate", "--status", "--dry-run")
    assert done.returncode == 2
    assert "one at a time" in done.stderr


def test_migrate_says_when_a_server_has_the_store(run, vtrack):
    served = vtrack()
    done = run("migrate", "--store-url", f"chdb://{served.folder}")
    assert done.returncode == 1
    assert "another process has" in done.stderr
    assert "Traceback" not in done.stderr
