"""A checkpoint is read back to the bit, or refused: if it is damaged, and if it belongs to something else."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vddbench.distillation.resume import Progress
from vddbench.evaluation import resume
from vddbench.evaluation.resume import Checkpoint, DamagedCheckpoint, OtherCheckpoint
from vddbench.evaluation.session import StudentProgress

IDENTITY = {"method": "dm", "preset": None, "lr": 30.0, "iterations": 5000, "sha256": "ab" * 32}
STUDENT = StudentProgress(step=3, micro_batch=2, finite=False, seconds=0.1 + 0.2, peak_memory_bytes=10**15)
RUN = Progress(iteration=3, seconds=1.5, forced=True, losses=[0.1, 1e-300, 1 / 3], watched=[(0, 0.1), (2, 1 / 3)])
TENSORS = {
    "clips": torch.arange(24.0).reshape(2, 3, 4).transpose(0, 2),  # not contiguous
    "optimiser.step": torch.tensor(3.0),
    "labels": torch.tensor([1, 2]),
}


def written(folder: Path, progress: StudentProgress | Progress = RUN) -> Checkpoint:
    checkpoint = Checkpoint(folder / "new" / "seed0.unfinished", IDENTITY)
    checkpoint.write(progress, TENSORS)
    return checkpoint


@pytest.mark.parametrize("progress", [STUDENT, RUN], ids=["student", "distillation"])
def test_what_is_written_is_read_to_the_bit(progress: StudentProgress | Progress, tmp_path: Path) -> None:
    checkpoint = written(tmp_path, progress)
    saved = checkpoint.read(type(progress))
    assert saved is not None and saved.progress == progress and saved.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(saved.tensors[name], tensor) and saved.tensors[name].dtype == tensor.dtype
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]


def test_nothing_saved_is_none_and_removing_leaves_nothing(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "seed0.unfinished", IDENTITY)
    assert checkpoint.read(Progress) is None
    checkpoint.remove()
    checkpoint.path.touch()
    (tmp_path / ".seed0.unfinished.abc.part").touch()  # of a process that was killed while it wrote
    checkpoint.remove()
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"preset": "fast", "lr": 1.0}, r"lr 30\.0 \(now 1\.0\); preset None \(now 'fast'\)$"),
        ({"momentum": 0.5}, r"momentum None \(now 0\.5\)$"),
    ],
)
def test_another_identity_is_refused_with_both_values(changes: dict[str, object], named: str, tmp_path: Path) -> None:
    path = written(tmp_path).path
    with pytest.raises(OtherCheckpoint, match=rf"seed0\.unfinished was saved under other settings: {named}"):
        Checkpoint(path, {**IDENTITY, **changes}).read(Progress)


def bare_header(metadata: dict[str, str] | None) -> bytes:
    header = json.dumps({} if metadata is None else {"__metadata__": metadata}).encode()
    return struct.pack("<Q", len(header)) + header


IDENTITY_TEXT = json.dumps({"format": resume.FORMAT, **IDENTITY})


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:-7],
        lambda whole: whole[:100],
        lambda whole: whole[:3],
        lambda whole: b"",
        lambda whole: bytes(len(whole)),
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: whole.replace(b'\\"iteration\\":3', b'\\"iteration\\":x'),
        lambda whole: whole.replace(b'\\"iteration\\":3', b'\\"forced  \\":3'),
        lambda whole: whole.replace(b'\\"method\\"', b'\\"preset\\"'),  # one key twice
        lambda whole: whole.replace(b'"identity"', b'"Identity"'),
        lambda whole: bare_header(None),
        lambda whole: bare_header({"identity": "[]", "progress": "[1]"}),
        lambda whole: bare_header({"identity": IDENTITY_TEXT, "progress": "[1]"}),
        lambda whole: bare_header({"identity": IDENTITY_TEXT}),
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    checkpoint = written(tmp_path)
    whole = checkpoint.path.read_bytes()
    assert damage(whole) != whole
    checkpoint.path.write_bytes(damage(whole))
    with pytest.raises(DamagedCheckpoint, match=r"seed0\.unfinished is damaged \("):
        checkpoint.read(Progress)


def test_a_file_that_is_too_big_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = written(tmp_path)
    monkeypatch.setattr(resume, "MAX_BYTES", 100)
    with pytest.raises(DamagedCheckpoint, match=r"bytes; at most 100 are read"):
        checkpoint.read(Progress)


def test_a_write_that_fails_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = written(tmp_path)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(Progress(iteration=4), {})
    saved = checkpoint.read(Progress)
    assert saved is not None and saved.progress.iteration == 3
    assert list(checkpoint.path.parent.iterdir()) == [checkpoint.path]
