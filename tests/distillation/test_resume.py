"""An unfinished distillation is resumed only by the run it belongs to, and by one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vddbench.distillation import resume
from vddbench.distillation.resume import FILE, Progress, Settings

SETTINGS: Settings = {"method": "dm", "preset": None, "lr": 30.0}


def test_other_settings_and_a_damaged_checkpoint_are_refused_with_what_to_do(tmp_path: Path) -> None:
    assert resume.read(tmp_path, SETTINGS) is None
    resume.write(tmp_path, SETTINGS, Progress(iteration=3, forced=True), {"learner.clips": torch.zeros(3)})
    other = {**SETTINGS, "lr": 1.0}
    with pytest.raises(ValueError, match=r"lr 30\.0 \(now 1\.0\)\. Finish that run .*, or start again with --force"):
        resume.read(tmp_path, other)
    assert resume.was_forced(tmp_path, SETTINGS) and not resume.was_forced(tmp_path, other)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-7])
    with pytest.raises(ValueError, match=r"is damaged \(.*start again with --force"):
        resume.read(tmp_path, SETTINGS)
    assert not resume.was_forced(tmp_path, SETTINGS)
    resume.drop(tmp_path)
    assert not any(tmp_path.iterdir())


def test_one_process_works_on_a_run_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    run, refusal = tmp_path / "dm", r"another process is distilling in .*dm; wait for it, or use another --seed"
    run.mkdir()
    command = [sys.executable, "-c", hold, str(run / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=refusal), resume.locked(run):
            pass
        other.kill()
        other.wait()
    with resume.locked(run), pytest.raises(ValueError, match=refusal), resume.locked(run):
        pass
