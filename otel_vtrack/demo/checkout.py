"""The app's source as a git repository with one commit per version, as a team would have it."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).parent / "app"
VERSIONS: Final = ("2.3.1", "2.4.0")


def _git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=Demo", "-c", "user.email=demo@example.invalid")
    subprocess.run(  # noqa: S603 - arguments of ours
        ["git", *author, *arguments],  # noqa: S607 - whichever git the user has
        cwd=folder,
        check=True,
        capture_output=True,
    )


def check_out(folder: Path) -> dict[str, tuple[Path, str]]:
    """Lay out each version under `folder`; return its folder and, without git, its commit.

    With git the commit is empty, because the app's tracing detects it. Without git it is a
    stand-in, a hash of the source.
    """
    found: dict[str, tuple[Path, str]] = {}
    has_git = shutil.which("git") is not None
    main = folder / "repository"
    main.mkdir(parents=True)
    if has_git:
        _git(main, "init", "--quiet", "--initial-branch=main")
    for version in VERSIONS:
        retrieval = (_SOURCE / f"retrieval_{version.replace('.', '_')}.py").read_text()
        (main / "retrieval.py").write_text(retrieval)
        shutil.copy(_SOURCE / "app.py", main / "app.py")
        commit = "" if has_git else hashlib.sha1(retrieval.encode()).hexdigest()  # noqa: S324
        if has_git:
            _git(main, "add", ".")
            _git(main, "commit", "--quiet", "--message", f"Release {version}")
        # A deployment is a copy, so that both versions can run at the same time.
        deployed = folder / version
        shutil.copytree(main, deployed)
        found[version] = (deployed, commit)
    return found
