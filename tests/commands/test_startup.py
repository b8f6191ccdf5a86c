"""Commands that only read records work without PyTorch, and help imports no heavy package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vddbench import lookup
from vddbench.commands.options import DEFAULT_SEEDS, PROTOCOL_NAME
from vddbench.leaderboard.evidence import BUNDLED
from vddbench.protocol import PROTOCOL
from vddbench.spec import Recipe

WITHOUT_TORCH = """
import os, sys
for name in ("torch", "torchvision"): sys.modules[name] = None  # importing it raises ModuleNotFoundError
from vddbench.commands.main import app
for command in (
    ["--help"], ["rank"], ["diff", "random", "random_jpeg"], ["power"], ["tasks"], ["students"],
    ["site", "build", "--out", "site"],
):
    app(command, standalone_mode=False)
"""
MAIN = "from vddbench.commands.main import main\nmain()"
HELP = """
import sys
from vddbench.commands.main import app
try:
    app(["rank", "--help"])
except SystemExit:
    pass
heavy = {"torch", "numpy", "pandas", "rich", "scipy", "pyarrow", "tabulate"} & set(sys.modules)
assert not heavy, heavy
"""


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "VDDBENCH_HOME": str(folder / "home")}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_records_are_read_ranked_and_shown_without_pytorch(tmp_path: Path) -> None:
    for method in ("random", "random_jpeg"):
        [own] = (BUNDLED / "movingshapes-ipc1").glob(f"{method}@*")
        shutil.copytree(own, tmp_path / "results" / "movingshapes-ipc1" / own.name)
    done = run(WITHOUT_TORCH, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "movingshapes-ipc1" in (tmp_path / "site" / "index.html").read_text()


def test_help_imports_no_heavy_package(tmp_path: Path) -> None:
    done = run(HELP, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--division" in done.stdout


def test_defaults_of_the_command_line_are_those_of_the_protocol() -> None:
    assert (PROTOCOL.name, PROTOCOL.default_seeds) == (PROTOCOL_NAME, DEFAULT_SEEDS)


def test_what_the_source_of_a_student_says_is_what_importing_it_gives() -> None:
    for name in lookup.names("student"):
        file, module = lookup.source_of("student", name), lookup.load("student", name)
        assert file.doc == (module.__doc__ or "").strip()
        assert Recipe(**file.values["RECIPE"]) == module.RECIPE
        assert file.values.get("BF16", False) == getattr(module, "BF16", False)


@pytest.mark.parametrize("name", lookup.names("baseline"))
def test_what_the_source_of_a_baseline_says_is_what_importing_it_gives(name: str) -> None:
    assert sorted(lookup.source_of("baseline", name).presets) == sorted(getattr(lookup.load("baseline", name), "PRESETS", {}))


def test_a_plug_in_may_be_a_folder_of_python_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "students/mine").mkdir(parents=True)
    source = (
        '"""My network."""\nBF16 = True\nGRAPH: bool = True\nRECIPE: Recipe = Recipe(lr=0.1)\nlater: int\nx: dict = dict([])\n'
    )
    (tmp_path / "students/mine/__init__.py").write_text(source)
    monkeypatch.setenv(lookup.PLUGINS, str(tmp_path))
    file = lookup.source_of("student", "mine")
    assert file.doc == "My network."
    assert file.values == {"BF16": True, "GRAPH": True, "RECIPE": {"lr": 0.1}}  # with or without annotation; only plain values


@pytest.mark.parametrize(
    ("package", "command", "says"),
    [
        ("torch", "evaluate submissions/none", "evaluate needs torch, which is not installed: pip install torch"),
        ("altair", "site build --out site", "build needs altair, which is not installed: pip install altair vl-convert"),
    ],
)
def test_a_command_that_lacks_a_package_says_what_to_install(package: str, command: str, says: str, tmp_path: Path) -> None:
    arguments = [*command.split(), "--results", str(BUNDLED)]
    done = run(f"import sys; sys.modules[{package!r}] = None; sys.argv[1:] = {arguments}\n{MAIN}", tmp_path)
    assert done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr
