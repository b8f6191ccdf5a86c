"""A new dataset, decoder, student or baseline is one new file. No other file names it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.commands import call
from vddbench.distillation.run import distill
from vddbench.lookup import PACKAGES, PLUGINS, load, names

FILES = Path(__file__).parent / "plugins"
METHODS = {"darkest": "hard", "drift_smoke": "soft", "drift": "soft"}


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of plug-ins that nothing is in yet; it is also the current folder."""
    folder = tmp_path / "mine"
    for kind in PACKAGES:
        (folder / f"{kind}s").mkdir(parents=True)
    monkeypatch.setenv(PLUGINS, str(folder))
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return folder


def test_new_files_run_from_raw_videos_to_a_ranked_table(plugins: Path) -> None:
    before = {kind: names(kind) for kind in PACKAGES}
    shutil.copytree(FILES, plugins, dirs_exist_ok=True)
    new = {kind: sorted(set(names(kind)) - set(before[kind])) for kind in PACKAGES}
    assert new == {
        "dataset": ["blinks"], "decoder": ["negative"], "student": ["linear"], "baseline": ["darkest", "drift"]
    }  # fmt: skip
    assert call("prepare", "blinks")[0] == 0
    assert call("distill", "darkest", "--task", "blinks-ipc1")[0] == 0
    assert call("distill", "drift", "--preset", "smoke", "--task", "blinks-ipc1")[0] == 0
    code, output = call("distill", "drift", "--task", "blinks-ipc1")
    assert code == 0 and "published" not in output  # it has no paper
    for method, kind in METHODS.items():
        submission = Path("submissions/blinks-ipc1") / method
        assert json.loads((submission / "manifest.json").read_bytes())["labels"] == kind
        assert call("check", submission)[0] == 0
        assert call("evaluate", submission, "--students", "linear", "--seeds", "2")[0] == 0
    code, output = call("rank", "--task", "blinks-ipc1", "--student", "linear", "--format", "csv")
    assert code == 0 and all(method in output for method in METHODS)


def test_an_unknown_name_says_where_to_put_a_file() -> None:
    code, output = call("distill", "my_own", "--task", "movingshapes-ipc1")
    assert code == 2 and "to add one, write baselines/my_own.py in a folder DIR and give --plugins DIR" in output


def test_child_processes_find_the_files_that_the_option_names(plugins: Path) -> None:
    shutil.copytree(FILES, plugins, dirs_exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != PLUGINS}
    command = [sys.executable, "-m", "vddbench", "--plugins", str(plugins), "prepare", "blinks"]
    assert subprocess.run(command, env=environment, check=False).returncode == 0


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_file_with_the_name_of_a_bundled_one_is_refused(kind: str, plugins: Path) -> None:
    bundled = names(kind)[0]  # type: ignore[arg-type]
    (plugins / f"{kind}s" / f"{bundled}.py").touch()
    with pytest.raises(ValueError, match=rf"{bundled}.py has the name of another {kind}; rename the file"):
        load(kind, bundled)  # type: ignore[call-overload]


BROKEN = {  # name of a baseline's file: its text, and what is wrong with it
    "broken_empty": ("DECODER = ''", r"broken_empty\.py cannot be a baseline"),
    "broken_import": ("# a comment\nimport nothing", r"broken_import\.py, line 2, cannot be imported: ModuleNotFoundError"),
    "broken_value": ("1 / 0", r"broken_value\.py, line 1, cannot be imported: ZeroDivisionError"),
    "broken_syntax": ("def", r"broken_syntax\.py cannot be imported: SyntaxError"),
    "Upper": ("", r"Upper\.py: rename the file: at most 40 lower-case letters, digits and _"),
    "with-dash": ("", r"with-dash\.py: rename the file: at most 40"),
    "random": ("", r"random\.py has the name of another baseline; rename the file"),
}


def test_a_broken_file_stops_no_command_about_others(plugins: Path) -> None:
    for name, (text, _) in BROKEN.items():
        (plugins / "baselines" / f"{name}.py").write_text(text)
    (plugins / "datasets" / "no_spec.py").touch()
    (plugins / "students" / "no_recipe.py").touch()
    code, output = call("methods")
    assert code == 0 and "herding" in output
    for _, says in BROKEN.values():
        assert len(re.findall(rf"warning: left out: (?:plug-in )?\S*{says}", output)) == 1
    for command, shown in (("datasets", "movingshapes"), ("tasks", "movingshapes-ipc1"), ("students", "convnet3d")):
        code, output = call(command)
        assert code == 0 and shown in output and "warning: left out: " in output
    code, output = call("methods", "herding")
    assert code == 0 and "warning" not in output
    for name, (_, says) in BROKEN.items():
        for command in (("methods", name), ("distill", name, "--task", "movingshapes-ipc1")):
            code, output = call(*command)
            assert code == 1 and re.match(rf"error: .*{says}", output)


@pytest.mark.parametrize(
    ("kind", "text", "says"),
    [
        ("dataset", "SPEC = None", r"it lacks videos \("),
        ("decoder", "", r"it lacks decode \("),
        ("student", "", r"it lacks RECIPE, build \("),
        ("baseline", "DECODER = PAPER = ''", r"it lacks Config, distill; or Config, PRESETS, learner \("),
    ],
)
def test_a_file_that_lacks_a_part_is_refused_with_its_name(kind: str, text: str, says: str, plugins: Path) -> None:
    (plugins / f"{kind}s" / f"broken_{kind}.py").write_text(text)
    with pytest.raises(ValueError, match=rf"broken_{kind}\.py cannot be a {kind}: {says}"):
        load(kind, f"broken_{kind}")  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    def exact", "    def inexact", r"the learner of baseline broken_drift \(Drift\) lacks exact; see Learner"),
        ("memory_knob", "knob", r"\(Drift\) lacks memory_knob"),
        ('memory_knob = "per_class"', 'memory_knob = "batch"', "memory_knob 'batch' is not a field of its Config"),
        ("Config", "Settings", r"broken_drift.py cannot be a baseline: it lacks Config \("),
        ("iterations", "steps", "the Config of baseline broken_drift has no field `iterations`"),
        (
            "PRESETS = {",
            "QUICK = {",
            "broken_drift.py cannot be a baseline: it lacks distill; or PRESETS",
        ),
        ("rate: float = 0.1", 'rate: float = "0.1"', "settings of broken_drift: rate is '0.1'; Input should be a valid number"),
        ("iterations: int = 40", "iterations: int = 2.5", "iterations is 2.5; Input should be a valid integer"),
        ("iterations: int = 40", "iterations: int = 0", "settings of broken_drift: iterations is 0; allowed: 1 or more"),
        ("return Distilled(", "return dict(", "baseline broken_drift returned dict; it must return a Distilled"),
    ],
)
def test_an_iterative_baseline_that_lacks_a_part_is_refused_with_its_name(
    old: str, new: str, says: str, plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(FILES, plugins, dirs_exist_ok=True)
    text = (FILES / "baselines" / "drift.py").read_text().replace(old, new)
    (plugins / "baselines" / "broken_drift.py").write_text(text)
    monkeypatch.delitem(sys.modules, "vddbench.baselines.broken_drift", raising=False)  # of the case before
    assert call("prepare", "blinks")[0] == 0
    with pytest.raises(ValueError, match=says):
        distill("broken_drift", "blinks-ipc1")
