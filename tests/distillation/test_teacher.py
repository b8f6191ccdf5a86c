"""A teacher whose training was interrupted is the same as one that was not, and only the rest of it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vddbench.data.store import Store
from vddbench.distillation import batch_norm_teacher, teacher
from vddbench.evaluation import hardware
from vddbench.evaluation.hardware import hardware_for
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.system.interrupt import ask_to_stop


@pytest.mark.long
def test_a_stopped_teacher_resumes_where_it_stopped(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    after_step = Session.after_step
    steps: list[int] = []

    def stopped(self: Session, *args: object, last: bool) -> None:
        steps.append(self.step)
        if len(steps) == 1:
            ask_to_stop()  # as Ctrl-C
        after_step(self, *args, last=last)  # type: ignore[arg-type]

    train = tiny.train
    monkeypatch.setattr(teacher, "BATCH", 2)  # clips, to save time; so does comparing weights instead of features
    monkeypatch.setattr(teacher, "embed", lambda model, *_: torch.cat([p.detach().flatten() for p in model.parameters()]))
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "whole"))
    whole = teacher.features(train)
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path / "stopped"))
    monkeypatch.setattr(Session, "after_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        teacher.features(train)
    (checkpoint,) = (tmp_path / "stopped").rglob("*.unfinished")
    assert "stopped after step 1; the same command resumes there" in capfd.readouterr().err
    assert np.array_equal(teacher.features(train).points, whole.points)
    assert steps == [0, 1] and not checkpoint.exists()
    assert "resumes after step 1" in capfd.readouterr().err


@pytest.mark.long
def test_a_teacher_is_trained_once_and_read_back_to_the_bit(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    trained: list[torch.nn.Module] = []
    original = teacher._train
    monkeypatch.setattr(teacher, "_train", lambda *args: [result := original(*args), trained.append(result.model)][0])
    first, second = (teacher.teacher(tiny.train, batch_norm_teacher, steps=1, batch=2) for _ in range(2))
    assert len(trained) == 1 and first.cost == second.cost
    for name, value in trained[0].state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value) or name.endswith("num_batches_tracked")
    clips = tiny.train.clips(np.arange(2), np.zeros(2, np.int64))
    assert torch.equal(teacher.answers(first.model, clips, tiny.train), teacher.answers(second.model, clips, tiny.train))
    other = teacher.teacher(tiny.train, convnet3d, steps=1, batch=2)
    assert len(trained) == 2 and other.name != first.name
    native = hardware.has_bf16(torch.device("cpu"))
    monkeypatch.setattr(hardware, "has_bf16", lambda device: not native)
    in_other_precision = teacher.teacher(tiny.train, convnet3d, steps=1, batch=2)
    assert len(trained) == 3 and in_other_precision.name != other.name


@pytest.mark.long
def test_a_teacher_copied_from_another_store_is_refused(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    name = teacher.teacher(tiny.train, steps=1, batch=2).name
    file = tmp_path / "teachers" / "weights" / f"{name}.safetensors"
    half = tiny.train.only(tiny.train.labels >= 0)
    half.index["video"] = half.index["video"] + "-other"
    monkeypatch.setattr(teacher, "_train", lambda *args: pytest.fail("trained again"))
    path = teacher._path(half, convnet3d, 1, 2, hardware_for(convnet3d))
    file.rename(path)
    with pytest.raises(
        ValueError, match=rf"teacher {path} cannot be used \(it holds '{name}', made from another store.*delete the file"
    ):
        teacher.teacher(half, steps=1, batch=2)


def test_a_teacher_whose_loss_is_not_finite_is_not_cached(tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    monkeypatch.setattr(convnet3d, "RECIPE", convnet3d.RECIPE.model_copy(update={"lr": 1e30}))
    with pytest.raises(
        ValueError,
        match=r"not finite \(2 steps of 2 clips\).*must not change: use fewer teacher_steps or a larger teacher_batch in",
    ):
        teacher.teacher(tiny.train, steps=2, batch=2, knob="teacher_batch")
    assert not list(tmp_path.rglob("*.safetensors"))
