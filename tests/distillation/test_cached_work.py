"""Work that is made once and read by many runs is the same tensor for all of them, and of their own store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vddbench.data.store import Split, Store
from vddbench.distillation import experts, teacher, tubes
from vddbench.distillation.cached_work import Fresh, do_once, read_work
from vddbench.distillation.teacher import Teacher

CPU = torch.device("cpu")
TEACHER = Teacher(None, "small", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [1.5, 2.1234, 2.123456789])
def test_a_part_lies_at_the_same_alignment_whatever_the_length_of_the_header(tmp_path: Path, seconds: float) -> None:
    """Else a matrix product of the same numbers may round differently, and the same seed give other bytes."""
    values = torch.arange(4 * 1001.0).view(4, 1001)
    tensor = do_once(tmp_path / "file.safetensors", "work", lambda: Fresh(values, seconds, 16)).tensor
    assert torch.equal(tensor[:], values) and torch.equal(tensor[1], values[1])
    assert tensor[:].data_ptr() % 64 == tensor[1].data_ptr() % 64 == 0


def features_of(split: Split) -> object:
    return teacher.features(split)


def experts_of(split: Split) -> object:
    return experts.trajectories(split, experts.Experts(num=1, epochs=1, batch=2), CPU)


def answers_for(split: Split) -> object:
    rows = np.arange(2)
    return tubes.answers_to(split, [tubes.whole_clips(split, rows, np.zeros(2, np.int64))], TEACHER, 8, 2, "")


@pytest.mark.parametrize("read", [features_of, experts_of, answers_for])
def test_cached_work_copied_from_another_store_is_refused(
    read: Callable[[Split], object], tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(*args: object) -> Fresh:
        return Fresh(torch.zeros(2, 3), 1.0, 2)

    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    for module, function in ((teacher, "_features"), (experts, "_make"), (tubes, "_answers")):
        monkeypatch.setattr(module, function, made)
    read(tiny.train)
    (own,) = tmp_path.rglob("*.safetensors")
    half = tiny.train.only(np.arange(len(tiny.train)) % 2 == 0)
    read(half)
    (other,) = set(tmp_path.rglob("*.safetensors")) - {own}
    other.write_bytes(own.read_bytes())
    with pytest.raises(ValueError, match=rf"{other} cannot be used \(it holds '{own.stem}', made from another store.*delete"):
        read(half)


def test_a_file_from_before_names_were_stored_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    do_once(path, "work", lambda: Fresh(torch.ones(3), 1.0, 2))
    save_file(load_file(path), path, {"seconds": "1.0", "clips_read": "2"})
    assert read_work(path, "work").clips_read == 2
