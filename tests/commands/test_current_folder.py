"""A stranger's files in the current folder, named like modules that vddbench imports, are never run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.cells import planned
from vddbench.cluster.worker import command, search_path
from vddbench.data.datasets import movingshapes
from vddbench.data.decode import UnreadableVideo
from vddbench.data.workers import decoded_videos
from vddbench.spec import Video

NAMES = ("torch", "numpy", "typer", "rich", "pydantic", "pydantic_core", "av", "PIL", "click", "submitit", "vddbench_plugins")
EARLY = ("runpy", "multiprocessing", "pickle", "typing", "importlib")  # `python -m` itself imports some of these


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(f"open({str(folder / 'was_run')!r}, 'w').close()\n")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", search_path())
    return folder


def spoil(hostile: Path, *names: str) -> None:
    for name in names:
        (hostile / f"{name}.py").write_text((hostile / "torch.py").read_text())


def test_the_installed_command_runs_none(hostile: Path, tmp_path: Path) -> None:
    spoil(hostile, *EARLY)
    script = tmp_path / "vddbench"  # as pip writes it
    script.write_text("import sys\nfrom vddbench.commands.main import main\nsys.exit(main())\n")
    done = subprocess.run([sys.executable, script, "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() and not (hostile / "was_run").exists()


def test_python_m_vddbench_runs_none_that_is_named_like_a_package(hostile: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "vddbench", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.strip() and not (hostile / "was_run").exists()


def test_the_process_of_a_cell_runs_none(hostile: Path, tmp_path: Path) -> None:
    spoil(hostile, *EARLY, "vddbench")
    run = planned(tmp_path)
    python = command(run, run.cells[0], 0, False)[:4]
    done = subprocess.run(python, capture_output=True, text=True, check=False)
    assert "main() missing 4 required" in done.stderr and not (hostile / "was_run").exists()


def test_processes_that_decode_videos_run_none(hostile: Path, tmp_path: Path) -> None:
    spoil(hostile, *EARLY)
    (tmp_path / "a.mp4").write_bytes(b"no video")
    video = Video(id="a", path=Path("a.mp4"), label=0, split="train")
    (finished,) = decoded_videos([(video, tmp_path / "a.mp4")], movingshapes.SPEC, tmp_path, 1)
    assert isinstance(finished.outcome, UnreadableVideo) and not (hostile / "was_run").exists()
    assert "PYTHONSAFEPATH" not in os.environ
