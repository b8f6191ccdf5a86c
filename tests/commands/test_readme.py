"""The commands of README and docs/ work as written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tools.baseline_tables import PAGE, written

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROOMS = (ROOT / "CONTRIBUTING.md").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
BLOCKS = re.findall(r"(?:<!-- (?P<mark>[^>]*) -->\n)?```bash\n(?P<commands>.*?)```", DOCS, re.S)
QUICK = [commands for mark, commands in BLOCKS if mark.startswith("run by tests")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples of a clone."""
    folder = tmp_path_factory.mktemp("readme") / "vddbench"
    folder.mkdir()
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def run(commands: str, folder: Path) -> str:
    """Runs README's lines in a shell; every one must end well."""
    program = shutil.which("vddbench", path=str(Path(sys.executable).parent)) or shutil.which("vddbench")
    assert program, "pip install -e . puts vddbench beside python"
    path = f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "VDDBENCH_HOME": str(folder / "home")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_the_quick_commands_run_as_written(clone: Path) -> None:
    assert len(QUICK) == 7
    out = [run(commands, clone) for commands in QUICK]
    assert (clone / "squares.png").stat().st_size > 1_000
    assert "accepted" in out[0]
    table = [line for line in out[1].splitlines() if line.startswith("|")]
    assert "mymethod" in out[1].splitlines()[-1]
    assert len(list((clone / "results").glob("*/*/*/seed3.json"))) == 1
    assert (clone / "board/index.html").is_file()
    assert (clone / "trees/datasets/ORG/vddbench-results/tables/leaderboard.parquet").is_file()
    assert list((clone / "outbox/records").rglob("seed0.*.json"))
    assert list((clone / "exported/data/vddbench/vddbench").rglob("*.json"))
    assert len(table) == 7 and all(any(method in line for line in table) for method in ("random", "random_jpeg"))


@pytest.mark.long
def test_the_tutorial_runs_as_written(tmp_path: Path) -> None:
    notebook = json.loads((ROOT / "examples/tutorial.ipynb").read_text())
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert all(not cell.get("outputs") for cell in notebook["cells"])  # results of some machine say nothing
    env = {**os.environ, "PYTHONPATH": str(ROOT / "examples"), "VDDBENCH_HOME": str(tmp_path / "home")}
    program = f"{code}\nassert set(table['method']) == {{'two_clip_mean', 'random'}} and len(records) == 4"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "two_clip_mean" in done.stdout and "accepted" in done.stdout


def test_links_lead_somewhere() -> None:
    """Files are there, and sections are called as links call them."""
    texts = {path: path.read_text() for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))}
    found = 0
    for path, text in texts.items():
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            name, _, section = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not section:
                assert file.exists(), f"{path.name}: {target}"
                found += 1
                continue
            heads = [
                re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in re.findall(r"^#+ (.*)$", texts[file], re.M)
            ]
            assert section in heads, f"{path.name}: {target}"
            found += 1
    assert found > 20


def test_ci_runs_the_two_commands_exactly_so() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for command in ("pip install -e . && vddbench demo", 'pip install -e ".[test]" && pytest'):
        assert f"```bash\n{command}\n```" in README
        assert f"step '{command}'" in script


def test_contributing_names_every_room_and_a_room_names_its_files() -> None:
    """The folders whose files are found by their names list none: a new file there needs no other edit."""
    by_name = {"datasets", "decoders", "students", "baselines"}
    packages = [p.parent for top in ("vddbench", "leaderboard") for p in (ROOT / top).rglob("__init__.py")]
    for package in packages:
        if package == ROOT / "vddbench" or package.name in by_name or package.is_relative_to(ROOT / "leaderboard" / "studies"):
            continue
        files = {p.name for p in package.glob("[a-z]*.py")}
        assert files == set(re.findall(r"\b([a-z_0-9]+\.py)\b", (package / "__init__.py").read_text())), package
        if package.parent == ROOT / "vddbench":
            assert f"\nvddbench/{package.name}/ " in ROOMS


def test_the_tables_of_the_baselines_say_what_the_records_say() -> None:
    assert written(PAGE.read_text()) == PAGE.read_text()
