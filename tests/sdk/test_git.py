"""What is read from real repositories, and that git never holds us up."""

import os
import shutil
import stat
import subprocess
import time

import pytest

import otel_vtrack
from otel_vtrack.sdk import git

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")

COMMIT, BRANCH, URL, DIRTY = (
    "vcs.ref.head.revision",
    "vcs.ref.head.name",
    "vcs.repository.url.full",
    "vtrack.vcs.dirty",
)

LIMIT = git.TIME_LIMIT_SECONDS


def test_the_limit_is_a_second():
    assert LIMIT == 1


def run(*arguments, cwd=None):
    who = ["-c", "user.name=t", "-c", "user.email=t@example", "-c", "commit.gpgsign=false"]
    command = ["git", *who, *arguments]
    done = subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with one commit; the current folder is inside it."""
    folder = tmp_path / "repository"
    (folder / "app").mkdir(parents=True)
    run("init", "-q", "-b", "trunk", str(folder))
    (folder / "app" / "main.py").write_text("1")
    run("add", ".", cwd=folder)
    run("commit", "-q", "-m", "one", cwd=folder)
    run("remote", "add", "origin", "https://me:secret@code.example/a/b.git", cwd=folder)
    monkeypatch.chdir(folder / "app")
    # A busy machine may need longer; what the limit is for has tests of its own.
    monkeypatch.setattr(git, "TIME_LIMIT_SECONDS", 30.0)
    return folder


def test_commit_branch_and_address_are_read(repository):
    assert otel_vtrack.detect_version() == {
        COMMIT: run("rev-parse", "HEAD"),
        BRANCH: "trunk",
        URL: "https://code.example/a/b",
        DIRTY: False,
    }


def test_a_changed_file_makes_it_dirty_and_an_untracked_one_does_not(repository):
    (repository / "new.py").write_text("1")
    assert otel_vtrack.detect_version()[DIRTY] is False
    git.detect.cache_clear()
    (repository / "app" / "main.py").write_text("2")
    assert otel_vtrack.detect_version()[DIRTY] is True


def test_a_detached_head_has_no_branch(repository):
    run("checkout", "-q", "--detach")
    found = otel_vtrack.detect_version()
    assert found[COMMIT] == run("rev-parse", "HEAD")
    assert BRANCH not in found


def test_a_worktree_has_its_own_branch(repository, tmp_path, monkeypatch):
    run("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    monkeypatch.chdir(tmp_path / "side")
    found = otel_vtrack.detect_version()
    assert (found[BRANCH], found[URL]) == ("side", "https://code.example/a/b")


def test_a_repository_without_a_commit_says_nothing(tmp_path, monkeypatch):
    run("init", "-q", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert otel_vtrack.detect_version() == {}


def test_a_hook_of_another_repository_does_not_mislead(repository, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert otel_vtrack.detect_version()[BRANCH] == "trunk"


def test_git_can_be_switched_off(repository, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_GIT", "false")
    assert otel_vtrack.detect_version() == {}


def test_whether_another_commit_is_dirty_is_not_for_git_to_say(repository, monkeypatch):
    monkeypatch.setenv("OTEL_VTRACK_COMMIT", "0" * 40)
    assert DIRTY not in otel_vtrack.detect_version()
    monkeypatch.setenv("OTEL_VTRACK_COMMIT", run("rev-parse", "HEAD")[:12])
    assert otel_vtrack.detect_version()[DIRTY] is False


def test_the_repository_is_left_untouched(repository):
    index = repository / ".git" / "index"
    os.utime(repository / "app" / "main.py")  # a plain `git status` would now rewrite the index
    before = index.stat().st_mtime_ns
    otel_vtrack.detect_version()
    assert index.stat().st_mtime_ns == before


@pytest.mark.parametrize("script", ["sleep 30", "trap '' TERM; sleep 30 & wait", "cat"])
def test_a_git_that_hangs_holds_us_up_for_a_second_at_most(
    repository, monkeypatch, tmp_path, script
):
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "TIME_LIMIT_SECONDS", LIMIT)
    began = time.monotonic()
    assert otel_vtrack.detect_version() == {}
    # The second, and what a busy machine adds to a test; never the 30 of the program.
    assert time.monotonic() - began < LIMIT + 1


def test_what_git_answers_in_time_counts_though_another_answer_is_late(
    repository, monkeypatch, tmp_path
):
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = shutil.which("git")
    fake.write_text(f'#!/bin/sh\ncase "$*" in *status*) exec sleep 30;; esac\nexec {real} "$@"\n')
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "TIME_LIMIT_SECONDS", 3.0)
    found = otel_vtrack.detect_version()
    assert found[BRANCH] == "trunk"
    assert DIRTY not in found


def test_no_process_is_started_outside_of_a_repository(tmp_path, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr(subprocess, "Popen", never)
    assert otel_vtrack.detect_version() == {}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://code.example/a/b.git", "https://code.example/a/b"),
        ("https://me:secret@code.example:8443/a/b/", "https://code.example:8443/a/b"),
        ("https://code.example/a/b?token=secret#secret", "https://code.example/a/b"),
        ("git@code.example:a/b.git", "https://code.example/a/b"),
        ("code.example:a/b", "https://code.example/a/b"),
        ("ssh://git@code.example:22/a/b.git", "https://code.example/a/b"),
        ("git+ssh://git@code.example/a/b", "https://code.example/a/b"),
        ("me:secret@code.example/a/b", "code.example/a/b"),
        ("https://[broken/a/b", ""),
        ("/srv/git/b.git", "/srv/git/b"),
        ("C:\\git\\b", "C:\\git\\b"),
    ],
)
def test_an_address_has_no_credentials_and_one_form(url, expected):
    assert git.without_credentials(url) == expected
