"""An interrupted student's training resumes as if nothing had happened, and never as another student's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.builders.students import killed_after
from tests.builders.submissions import LABELS, SPEC, clips
from vddbench.evaluation import session
from vddbench.evaluation.hardware import Hardware
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.session import Session, StudentProgress
from vddbench.evaluation.students import convnet3d
from vddbench.evaluation.train import Trained, train
from vddbench.spec import ClipSet, Recipe

STEPS = 6
KILLS = 6
CPU = torch.device("cpu")
CLIPS = ClipSet(clips=clips(6), labels=LABELS.repeat(2))
IDENTITY = {"submission_sha256": "ab", "seed": 0}


class Small(torch.nn.Module):
    """Like MiniC3D in what has to be saved: 5-D weights, dropout's random numbers, momentum."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv, self.dropout, self.head = torch.nn.Conv3d(3, 8, 3), torch.nn.Dropout(0.5), torch.nn.Linear(8, classes)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.dropout(self.conv(x).relu().mean((2, 3, 4))))


class WithUnused(Small):
    """Has a parameter without a gradient, and so without momentum."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(shape, classes)
        self.unused = torch.nn.Parameter(torch.zeros(3))


SMALL = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=Small)
UNUSED = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=WithUnused)
OTHER = SimpleNamespace(RECIPE=convnet3d.RECIPE, build=lambda shape, classes: torch.nn.Sequential(Small(shape, classes)))
NO_MOMENTUM = SimpleNamespace(RECIPE=Recipe(lr=0.1, momentum=0.0, weight_decay=0.0), build=Small)


def trained(path: Path | None = None, student: Any = SMALL, steps: int = STEPS, **options: Any) -> Trained:
    checkpoint = path and Checkpoint(path, options.pop("identity", IDENTITY))
    hardware = Hardware(device=CPU, precision="fp32")
    return train(
        CLIPS, SPEC, student, steps=steps, batch=4, seed=0, hardware=hardware, session=Session(checkpoint, **options)
    )  # fmt: skip


def trained_until(number: int, path: Path, student: Any = SMALL) -> None:
    with killed_after(number):
        trained(path, student)


def same_weights(one: Trained, other: Trained) -> bool:
    weights = other.model.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.model.state_dict().items())


@pytest.mark.parametrize("number", [1, 3, 4, 6])  # the lr drops after 3; 6: killed before it was tested
@pytest.mark.parametrize("student", [SMALL, UNUSED, NO_MOMENTUM], ids=["small", "unused", "no-momentum"])
def test_a_resumed_student_is_the_same_to_the_bit(student: Any, number: int, tmp_path: Path) -> None:
    path, reported = tmp_path / "seed0.unfinished", list[int]()
    trained_until(number, path, student)
    rest = trained(path, student, on_step=lambda new_steps, note: reported.append(new_steps))
    assert same_weights(rest, trained(student=student))
    assert reported[0] == number and sum(reported) == STEPS  # a progress bar starts where the other one ended


@pytest.mark.long
def test_a_student_killed_at_any_moment_is_the_same_to_the_bit(tmp_path: Path) -> None:
    """A real kill -9, a few milliseconds after each time that the process has saved one more step."""
    program = """
import os, signal, sys, time, torch
from pathlib import Path
from tests.evaluation.test_session import KILLS, STEPS, session, trained
path, session.EVERY_SECONDS = Path(sys.argv[1]), -1.0
torch.optim.SGD([torch.zeros(1)], 1)  # imports what every child would import otherwise
for kills in range(KILLS + 1):
    before = path.exists() and path.stat().st_mtime_ns
    if (child := os.fork()) == 0:
        torch.save(trained(path, steps=5 * STEPS).model.state_dict(), path.with_suffix(".pt"))
        os._exit(0)
    while kills < KILLS and before == (path.exists() and path.stat().st_mtime_ns):
        time.sleep(0.001)
    time.sleep(0.002 * kills)
    os.kill(child, signal.SIGKILL if kills < KILLS else 0)
    os.waitpid(child, 0)
"""
    path = tmp_path / "seed0.unfinished"
    command = [sys.executable, "-c", program, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)  # a child that fails saves nothing
    assert done.stderr.count("resumes after step") == KILLS
    weights = torch.load(path.with_suffix(".pt"), weights_only=True)
    assert all(torch.equal(value, weights[name]) for name, value in trained(steps=5 * STEPS).model.state_dict().items())


def test_seconds_micro_batches_and_losses_that_were_not_finite_are_kept(tmp_path: Path) -> None:
    path, model = tmp_path / "seed0.unfinished", Small((4, 16, 16, 3), 3)
    progress = StudentProgress(step=2, micro_batch=2, finite=False, seconds=1000.0, peak_memory_bytes=10**15)
    Checkpoint(path, IDENTITY).write(progress, session.state(model, torch.optim.SGD(model.parameters(), lr=0.1)))
    rest = trained(path)
    assert 1000 < rest.seconds < 1100 and rest.micro_batch == 2 and not rest.finite and rest.peak_memory_bytes == 10**15


def without_random_state(path: Path) -> None:
    """Damaged in what is restored last."""
    with safe_open(path, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({**tensors, "random": torch.zeros_like(tensors["random"])}, path, metadata)


@pytest.mark.parametrize(
    ("student", "identity", "spoil"),
    [
        (SMALL, {**IDENTITY, "submission_sha256": "cd"}, lambda path: None),
        (OTHER, IDENTITY, lambda path: None),
        (SMALL, IDENTITY, lambda path: path.write_bytes(path.read_bytes()[:1000])),
        (SMALL, IDENTITY, without_random_state),
    ],
    ids=["other-submission", "other-network", "cut", "no-random-state"],
)
def test_a_checkpoint_of_another_student_or_a_damaged_one_is_not_used(
    student: Any, identity: dict[str, Any], spoil: Callable[[Path], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "seed0.unfinished"
    trained_until(3, path, student)
    spoil(path)
    assert same_weights(trained(path, identity=identity), trained())
    assert "training starts over" in " ".join(capfd.readouterr().err.split())


def test_a_signal_finishes_the_step_saves_and_stops(tmp_path: Path) -> None:
    signals: list[int] = []
    path = tmp_path / "seed0.unfinished"

    class Signalled(Small):
        def forward(self, x: torch.Tensor) -> Any:
            signals.append(15)
            return super().forward(x)

    with pytest.raises(KeyboardInterrupt):
        trained(path, SimpleNamespace(RECIPE=SMALL.RECIPE, build=Signalled), stop=signals)
    assert len(signals) == 1 and same_weights(trained(path), trained())


def test_a_short_training_writes_nothing(tmp_path: Path) -> None:
    trained(tmp_path / "seed0.unfinished")
    assert not any(tmp_path.iterdir())


def test_a_full_disk_does_not_end_a_training(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(session, "EVERY_SECONDS", -1.0)
    assert same_weights(trained(Path("/dev/full/seed0.unfinished")), trained())  # nothing can be written there
    assert "cannot save" in capfd.readouterr().err
