"""Stills for the static-dynamic methods are learned once, resumed, and named when their file is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.builders.submissions import TASK
from vddbench.baselines import _slots
from vddbench.baselines.static_dc import Config, Matching
from vddbench.data.store import Split

CPU = torch.device("cpu")
QUICK = Config(iterations=4, real_per_class=4, optimiser="adam", lr=0.05)


@pytest.fixture
def statics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of cached stills, which is empty."""
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    return tmp_path / "statics"


def test_stills_for_other_methods_are_learned_once_for_each_setting(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _slots.stills(split, TASK, 2, QUICK, 0, CPU)
    assert first.tensor[:].shape == (6, 3, 16, 16) and first.tensor[:].dtype == torch.float32
    assert first.clips_read == 4 * 3 * 4
    other = _slots.stills(split, TASK, 2, QUICK, 1, CPU)
    assert not torch.equal(first.tensor[:], other.tensor[:])
    monkeypatch.setattr(_slots, "learn", None)  # from here on nothing can be learned
    again = _slots.stills(split, TASK, 2, QUICK, 0, CPU)
    assert torch.equal(first.tensor[:], again.tensor[:]) and first.seconds == again.seconds
    with pytest.raises(TypeError):
        _slots.stills(split, TASK, 1, QUICK, 0, CPU)


def test_an_interrupted_run_for_stills_resumes_and_ends_with_the_same(
    split: Split, statics: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(iterations=5, real_per_class=2)
    whole = _slots.stills(split, TASK, 1, config, 7, CPU)
    (path,) = statics.glob("made-*.safetensors")
    path.unlink()
    step = Matching.step

    def interrupted(self: Matching, iteration: int) -> torch.Tensor:
        if iteration == 3:
            raise KeyboardInterrupt
        return step(self, iteration)

    monkeypatch.setattr("vddbench.distillation.learn.CHECKPOINT_SECONDS", 0)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Matching, "step", interrupted)
        _slots.stills(split, TASK, 1, config, 7, CPU)
    assert (path.with_suffix("") / "checkpoint.safetensors").exists()
    assert torch.equal(_slots.stills(split, TASK, 1, config, 7, CPU).tensor[:], whole.tensor[:])
    assert not path.with_suffix("").exists()


def test_a_damaged_file_of_stills_is_named(split: Split, statics: Path) -> None:
    _slots.stills(split, TASK, 1, QUICK, 9, CPU)
    (path,) = statics.glob("made-*.safetensors")
    path.write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match=r"stills .* is damaged .*delete the file and run again"):
        _slots.stills(split, TASK, 1, QUICK, 9, CPU)
