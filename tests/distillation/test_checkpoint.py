"""An unfinished run is kept whole, and taken up only by the run it belongs to."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vddbench.distillation import resume as checkpoint
from vddbench.distillation.resume import FILE, Progress, Settings

SETTINGS: Settings = {"method": "dm", "preset": None, "lr": 30.0, "iterations": 5000, "watch_every": 50}
DONE = Progress(
    iteration=3, seconds=1.5, clips_read=96, forced=True, losses=[0.1, 1e-300, 1 / 3], watched=[(0, 0.1), (2, 1 / 3)]
)


def write(folder: Path, settings: Settings = SETTINGS) -> dict[str, torch.Tensor]:
    crooked = torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2)  # as memories are: not contiguous
    state = {"learner.clips": crooked, "learner.optimiser.0.step": torch.tensor(3.0), "best.labels": torch.tensor([1, 2])}
    checkpoint.write(folder, settings, DONE, state)
    return state


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    state = write(tmp_path / "new" / "folder")
    found = checkpoint.read(tmp_path / "new" / "folder", SETTINGS)
    assert found is not None and found[0] == DONE and found[1].keys() == state.keys()
    assert all(torch.equal(found[1][name], value) and found[1][name].dtype == value.dtype for name, value in state.items())
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == [FILE]


def test_there_may_be_none(tmp_path: Path) -> None:
    assert checkpoint.read(tmp_path, SETTINGS) is None
    checkpoint.drop(tmp_path)


def test_other_settings_are_refused_by_name_with_both_values(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(
        ValueError, match=r"other settings: lr 30.0 there, 1.0 asked; preset None there, 'fast' asked\. .*--force"
    ):
        checkpoint.read(tmp_path, {**SETTINGS, "preset": "fast", "lr": 1.0})
    with pytest.raises(ValueError, match=r"momentum None there, 0\.5 asked"):
        checkpoint.read(tmp_path, {**SETTINGS, "momentum": 0.5})
    assert checkpoint.was_forced(tmp_path, SETTINGS) and not checkpoint.was_forced(tmp_path, {**SETTINGS, "lr": 1.0})


def bare_header(metadata: dict[str, str] | None) -> bytes:
    header = json.dumps({} if metadata is None else {"__metadata__": metadata}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-7],
        lambda whole: whole[:100],
        lambda whole: whole[:3],
        lambda whole: b"",
        lambda whole: bytes(len(whole)),
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: bare_header(None),
        lambda whole: bare_header({"settings": "{}", "progress": "{}"}),
        lambda whole: bare_header({"settings": "[]", "progress": "[1]"}),
        lambda whole: whole.replace(b'\\"iteration\\": 3', b'\\"iteration\\": x'),
        lambda whole: whole.replace(b'"settings"', b'"Settings"'),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused_with_what_to_do(damage: object, tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / FILE).read_bytes()
    spoilt = damage(whole)  # type: ignore[operator]
    assert spoilt != whole
    (tmp_path / FILE).write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"is damaged \(.*start anew with --force"):
        checkpoint.read(tmp_path, SETTINGS)
    assert not checkpoint.was_forced(tmp_path, SETTINGS)


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(tmp_path, SETTINGS, Progress(iteration=4), {})
    found = checkpoint.read(tmp_path, SETTINGS)
    assert found is not None and found[0].iteration == 3
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_one_process_a_run_and_the_lock_goes_with_it(tmp_path: Path) -> None:
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    run = tmp_path / "dm"
    run.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(run / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == b"held\n"
        refused = pytest.raises(ValueError, match=r"another process is distilling in .*dm; wait for it, or use another --seed")
        with refused, checkpoint.locked(run):
            pass
        other.kill()
        other.wait()
        with checkpoint.locked(run), pytest.raises(ValueError, match="another process"), checkpoint.locked(run):
            pass
