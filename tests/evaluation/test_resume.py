"""An interrupted student goes on as if nothing had been, and never as another student."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.builders.submissions import LABELS, SPEC, clips
from vddbench.evaluation import resume as module
from vddbench.evaluation.resume import Position, Unfinished
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import Trained, train
from vddbench.spec import ClipSet, Recipe

STEPS = 6
CPU = torch.device("cpu")
CLIPS = ClipSet(clips=clips(6), labels=LABELS.repeat(2))
ABOUT = {"submission_sha256": "ab", "seed": 0}


class Small(torch.nn.Module):
    """As MiniC3D in what has to be kept: 5-D weights, dropout's random numbers, momentum."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv, self.dropout, self.head = torch.nn.Conv3d(3, 8, 3), torch.nn.Dropout(0.5), torch.nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.dropout(self.conv(x).relu().mean((2, 3, 4))))


SMALL = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=Small)
OTHER = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=lambda shape, classes: torch.nn.Sequential(Small(shape, classes)))
NO_MOMENTUM = SimpleNamespace(RECIPE=Recipe(lr=0.1, momentum=0.0, weight_decay=0.0), build=Small)


class Killed(Exception):
    """Stands for kill -9: nothing runs after it."""


def student(keep: Unfinished | None, student: Any = SMALL, on_step: Callable[[int, str], None] | None = None) -> Trained:
    told = on_step or (lambda steps, note: None)
    return train(
        CLIPS, SPEC, student, steps=STEPS, batch=4, seed=0, device=CPU, precision="fp32", on_step=told, unfinished=keep
    )  # fmt: skip


def killed_after(number: int, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Trains, saving after every step, until `number` steps are saved."""
    keep, save, done = Unfinished(path, ABOUT), Unfinished.save, []

    def then_killed(self: Unfinished, *given: Any) -> None:
        save(self, *given)
        done.append(1)
        if len(done) == number:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module, "EVERY_SECONDS", -1.0)
        patch.setattr(Unfinished, "save", then_killed)
        with pytest.raises(Killed):
            student(keep, **options)


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    return trained.model.state_dict()


@pytest.mark.parametrize("number", [1, 3, 4, 6])  # lr drops after 3; 6: killed before it was tested
def test_a_student_that_goes_on_is_the_same_to_the_bit(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(student(None))
    killed_after(number, tmp_path / "seed0.unfinished", monkeypatch)
    steps: list[int] = []
    rest = student(Unfinished(tmp_path / "seed0.unfinished", ABOUT), on_step=lambda n, note: steps.append(n))
    assert all(torch.equal(value, whole[name]) for name, value in weights(rest).items())
    assert steps[0] == number and sum(steps) == STEPS  # a bar shows what was done, and ends at the end


def test_students_without_momentum_go_on_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = weights(student(None, NO_MOMENTUM))["conv.weight"]
    killed_after(2, tmp_path / "seed0.unfinished", monkeypatch, student=NO_MOMENTUM)
    assert torch.equal(weights(student(Unfinished(tmp_path / "seed0.unfinished", ABOUT), NO_MOMENTUM))["conv.weight"], whole)


def test_seconds_micro_batches_and_losses_that_were_not_finite_are_kept(tmp_path: Path) -> None:
    keep = Unfinished(tmp_path / "seed0.unfinished", ABOUT)
    model = Small((4, 16, 16, 3), 3)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    keep.save(model, sgd, Position(step=2, micro_batch=2, finite=False, seconds=1000.0, peak_memory_bytes=10**15))
    trained = student(Unfinished(keep.path, ABOUT))
    assert 1000 < trained.seconds < 1100 and trained.micro_batch == 2 and not trained.finite
    assert trained.peak_memory_bytes == 10**15


def test_a_parameter_that_nothing_depends_on_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unused(Small):
        def __init__(self, shape: tuple[int, ...], classes: int) -> None:
            super().__init__(shape, classes)
            self.unused = torch.nn.Parameter(torch.zeros(3))

    unused = SimpleNamespace(RECIPE=SMALL.RECIPE, build=Unused)
    whole = weights(student(None, unused))
    killed_after(3, tmp_path / "seed0.unfinished", monkeypatch, student=unused)
    told: list[int] = []
    rest = student(Unfinished(tmp_path / "seed0.unfinished", ABOUT), unused, lambda n, note: told.append(n))
    assert told[0] == 3 and all(torch.equal(value, whole[name]) for name, value in weights(rest).items())


@pytest.mark.parametrize("spoil", ["about", "cut", "tensors", "noise", "random"])
def test_a_file_of_another_student_or_a_damaged_one_is_not_gone_on_with(
    spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seed0.unfinished"
    killed_after(3, path, monkeypatch, **({"student": OTHER} if spoil == "tensors" else {}))
    if spoil in {"cut", "noise"}:
        path.write_bytes(path.read_bytes()[:1000] if spoil == "cut" else b"\0" * 1000)
    if spoil == "random":  # damaged in what would be restored last
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            metadata = file.metadata()
        save_file({**tensors, "random": torch.zeros_like(tensors["random"])}, path, metadata)
    about = {**ABOUT, "submission_sha256": "cd"} if spoil == "about" else ABOUT
    whole = weights(student(None))
    again = weights(student(Unfinished(path, about)))
    assert all(torch.equal(value, whole[name]) for name, value in again.items())
    assert "beginning again" in " ".join(capfd.readouterr().err.split())


def test_a_signal_ends_the_step_saves_and_stops(tmp_path: Path) -> None:
    caught: list[int] = []
    path = tmp_path / "seed0.unfinished"

    class Noticing(Small):
        def forward(self, x: torch.Tensor) -> Any:
            caught.append(15)
            return super().forward(x)

    noticed = SimpleNamespace(RECIPE=SMALL.RECIPE, build=Noticing)
    with pytest.raises(KeyboardInterrupt):
        student(Unfinished(path, ABOUT, caught), noticed)
    rest = student(Unfinished(path, ABOUT))
    whole = weights(student(None))
    assert len(caught) == 1 and all(torch.equal(value, whole[name]) for name, value in weights(rest).items())


def test_nothing_is_written_for_a_short_training_and_dropping_leaves_nothing(tmp_path: Path) -> None:
    keep = Unfinished(tmp_path / "seed0.unfinished", ABOUT)
    student(keep)
    assert not any(tmp_path.iterdir())
    keep.path.write_bytes(b"")
    (tmp_path / ".seed0.unfinished.abc.part").write_bytes(b"")
    keep.drop()
    assert not any(tmp_path.iterdir())


def test_a_full_disk_does_not_cost_the_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", -1.0)
    whole = weights(student(None))
    trained = student(Unfinished(Path("/dev/full/seed0.unfinished"), ABOUT))  # a place where nothing can be written
    assert all(torch.equal(value, whole[name]) for name, value in weights(trained).items())
    assert "cannot save" in capfd.readouterr().err
