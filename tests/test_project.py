"""What the repository itself promises."""

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_constraints_name_versions_and_no_address():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert lines
    assert all("==" in line and "://" not in line for line in lines)


def test_every_make_target_is_explained():
    makefile = (ROOT / "Makefile").read_text()
    phony = next(line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    for target in phony.removeprefix(".PHONY:").split():
        assert f"\n{target}:" in makefile
        rule = makefile.split(f"\n{target}:", 1)[1].splitlines()[0]
        assert "##" in rule, f"make {target} has no line in make help"
