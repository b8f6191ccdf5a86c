"""A teacher whose training was interrupted is the same as one that was not, and only the rest of it is trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vddbench.data.store import Store
from vddbench.distillation import teacher
from vddbench.evaluation.session import Session
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
    monkeypatch.setattr(teacher, "_embed", lambda split, model: torch.cat([p.detach().flatten() for p in model.parameters()]))
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
