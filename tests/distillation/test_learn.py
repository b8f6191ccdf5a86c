"""The loop of iterative baselines: interruptions do not change a run, and a watched run submits its best iteration."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from vddbench.distillation import learn, resume
from vddbench.distillation.contract import Distilled
from vddbench.distillation.learn import Learned
from vddbench.distillation.optimiser import make_optimiser, restore, saved
from vddbench.distillation.real_clips import stream
from vddbench.distillation.resume import FILE, Progress
from vddbench.distillation.watch import Watch
from vddbench.spec import ClipSet


class Reads:
    """Counts as RealClips do."""

    clips_read, waited_seconds = 0, 0.0


class Walk:
    """Learns eight numbers from random ones, which follow from the iteration. at: functions to call in a step."""

    memory_knob = "real_per_class"

    def __init__(self, at: Mapping[int, Any] | None = None) -> None:
        self.at, self.real = at or {}, cast(Any, Reads())
        self.steps: list[int] = []
        self.parameters = {"clips": torch.zeros(8, requires_grad=True)}
        self.adam = make_optimiser("adam", self.parameters, {"clips": 0.1}, 0.5)

    def step(self, iteration: int) -> torch.Tensor:
        if iteration in self.at:
            self.at[iteration]()
        self.steps.append(iteration)
        self.real.clips_read += 4
        target = torch.from_numpy(stream(0, iteration, 2).normal(size=8)).float()
        loss = (self.parameters["clips"] - target).square().sum()
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return loss.detach()

    def exact(self) -> ClipSet:
        raise NotImplementedError

    def distilled(self) -> Distilled:
        return Distilled(tensors={"clips": self.parameters["clips"].detach().clone()}, chosen={"depth": 3})

    def state(self) -> dict[str, torch.Tensor]:
        return saved(self.parameters, self.adam)

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        restore(state, self.parameters, self.adam)


class Scores:
    """A Watch whose scores are given."""

    def __init__(self, every: int, scores: list[float]) -> None:
        self.every, self.scores, self.seen = every, iter(scores), list[torch.Tensor]()

    def top1(self, distilled: Distilled, on_step: Callable[[int, str], None]) -> float:
        on_step(10, "loss 0.5")
        self.seen.append(distilled.tensors["clips"])
        return next(self.scores)


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Signals arrive as in a terminal, also if the tests run in the background."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def run(learner: Walk, folder: Path, total: int = 25, watch: Scores | None = None) -> Learned:
    return learn.learn(cast(Any, learner), {"iterations": total}, folder, cast(Watch, watch), "walk")


def test_the_last_iteration_is_submitted_and_every_loss_kept(tmp_path: Path) -> None:
    learner = Walk()
    learned = run(learner, tmp_path)
    assert learner.steps == list(range(25)) and len(learned.progress.losses) == 25
    assert torch.equal(learned.distilled.tensors["clips"], learner.parameters["clips"])
    assert learned.chosen == {"iteration": 25, "iteration_chosen_by": "config"} and learned.distilled.chosen == {"depth": 3}
    assert learned.progress.clips_read == 100 and learned.progress.seconds > 0 and learned.waited_share == 0


@pytest.mark.parametrize(
    ("moment", "number"), [(0, signal.SIGINT), (3, signal.SIGTERM), (9, signal.SIGINT), (24, signal.SIGINT)]
)
def test_an_interrupted_run_resumes_as_if_nothing_had_happened(moment: int, number: int, tmp_path: Path) -> None:
    complete = Walk()
    whole = run(complete, tmp_path / "whole", watch=Scores(10, [0.1, 0.3, 0.2, 0.3]))
    first = Walk(at={moment: lambda: os.kill(os.getpid(), number)})
    scores = Scores(10, [0.1, 0.3, 0.2, 0.3])
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path / "parts", watch=scores)
    assert first.steps == list(range(moment + 1))  # the current step is finished
    rest = Walk()
    learned = run(rest, tmp_path / "parts", watch=scores)
    assert rest.steps == list(range(moment + 1, 25))
    assert torch.equal(rest.parameters["clips"], complete.parameters["clips"])
    assert torch.equal(learned.distilled.tensors["clips"], whole.distilled.tensors["clips"])
    assert learned.chosen == whole.chosen
    assert learned.progress.losses == whole.progress.losses and learned.progress.watched == whole.progress.watched
    assert learned.progress.clips_read == 100


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    learner = Walk(at={4: lambda: (press_ctrl_c(), press_ctrl_c())})
    with pytest.raises(KeyboardInterrupt):
        run(learner, tmp_path)
    assert learner.steps == [0, 1, 2, 3] and not (tmp_path / FILE).exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As in jobs that a script starts with &."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run(Walk(at={4: press_ctrl_c}), tmp_path).progress.iteration == 25


def test_a_checkpoint_survives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash() -> None:
        raise RuntimeError("crash")

    whole = run(Walk(), tmp_path / "whole")
    monkeypatch.setattr(learn, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(RuntimeError, match="crash"):
        run(Walk(at={13: crash}), tmp_path / "parts")
    rest = Walk()
    learned = run(rest, tmp_path / "parts")
    assert rest.steps == list(range(13, 25))
    assert torch.equal(learned.distilled.tensors["clips"], whole.distilled.tensors["clips"])
    assert learned.progress.losses == whole.progress.losses and learned.progress.clips_read == 100


def test_a_finished_run_whose_submission_was_not_written_takes_no_step_again(tmp_path: Path) -> None:
    whole = run(Walk(), tmp_path, watch=Scores(10, [0.1, 0.3, 0.2, 0.2]))
    again = Walk()
    learned = run(again, tmp_path, watch=Scores(10, []))
    assert again.steps == [] and learned.waited_share is None
    assert torch.equal(learned.distilled.tensors["clips"], whole.distilled.tensors["clips"])
    assert learned.chosen == whole.chosen


@pytest.mark.parametrize(
    ("scores", "best"),
    [([0.1, 0.5, 0.5, 0.3], 10), ([0.5, 0.1, 0.5, 0.2], 0), ([0.0, 0.1, 0.2, 0.25], 25), ([0.0, 0.0, 0.0, 0.0], 0)],
)
def test_the_best_iteration_is_submitted_and_the_earliest_of_equal_ones(scores: list[float], best: int, tmp_path: Path) -> None:
    watch, learner = Scores(10, scores), Walk()
    learned = run(learner, tmp_path, watch=watch)
    assert learned.progress.watched == list(zip([0, 10, 20, 25], scores, strict=True))  # the last one is always scored
    assert learned.chosen == {"iteration": best, "iteration_chosen_by": "validation", "validation_top1": max(scores)}
    seen = dict(zip([0, 10, 20, 25], watch.seen, strict=True))
    assert torch.equal(learned.distilled.tensors["clips"], seen[best])
    assert len({tuple(s.tolist()) for s in watch.seen}) == 4


def test_watching_does_not_change_what_is_learned(tmp_path: Path) -> None:
    plain, watched = Walk(), Walk()
    run(plain, tmp_path / "plain")
    run(watched, tmp_path / "watched", watch=Scores(1, [0.0] * 26))
    assert torch.equal(plain.parameters["clips"], watched.parameters["clips"])


def test_out_of_memory_names_what_to_lower_and_keeps_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")  # stands for a full GPU

    monkeypatch.setattr(learn, "CHECKPOINT_SECONDS", 0.0)
    with pytest.raises(ValueError, match=r"memory ran out at iteration 7; .*: lower real_per_class in the method's file"):
        run(Walk(at={7: full}), tmp_path)
    saved = resume.read(tmp_path, {"iterations": 25})
    assert saved is not None and saved.progress.iteration == 7


def test_a_loss_that_is_not_finite_ends_the_run_and_is_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "CHECKPOINT_SECONDS", 0.0)
    learner = Walk()

    def diverge() -> None:
        with torch.no_grad():
            learner.parameters["clips"] *= torch.inf

    learner.at = {7: diverge}
    with pytest.raises(ValueError, match="is not finite at iteration 7: lower the learning rate"):
        run(learner, tmp_path)
    saved = resume.read(tmp_path, {"iterations": 25})
    assert saved is not None and saved.progress.iteration == 7 and saved.tensors["learner.clips"].isfinite().all()


def test_a_last_step_after_which_nothing_is_finite_is_never_saved(tmp_path: Path) -> None:
    class Diverging(Walk):
        def step(self, iteration: int) -> torch.Tensor:
            loss = super().step(iteration)
            if iteration == 24:  # a finite loss, a gradient that is not
                with torch.no_grad():
                    self.parameters["clips"] *= torch.nan
            return loss

    with pytest.raises(ValueError, match="is not finite at iteration 25: lower the learning rate"):
        run(Diverging(), tmp_path)
    assert not (tmp_path / FILE).exists()


def test_seconds_add_up_over_processes(tmp_path: Path) -> None:
    resume.write(
        tmp_path,
        {"iterations": 25},
        Progress(iteration=0, seconds=1000.0, clips_read=8),
        {f"learner.{k}": v for k, v in Walk().state().items()},
    )
    learned = run(Walk(), tmp_path)
    assert 1000 < learned.progress.seconds < 1100 and learned.progress.clips_read == 108


def test_the_machines_memory_can_run_out_too_and_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"this machine's memory ran out at iteration 3; .*: lower real_per_class"):
        run(Walk(at={3: lambda: torch.empty(2**60, dtype=torch.uint8)}), tmp_path / "full")
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(Walk(at={3: lambda: torch.zeros(2, 3) @ torch.zeros(2, 3)}), tmp_path / "wrong")


def test_a_checkpoint_keeps_the_largest_memory_of_all_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "peak_memory_bytes", lambda device: 7_000)
    with pytest.raises(KeyboardInterrupt):
        run(Walk(at={4: press_ctrl_c}), tmp_path)
    monkeypatch.setattr(learn, "peak_memory_bytes", lambda device: 5_000)
    assert run(Walk(), tmp_path).progress.peak_memory_bytes == 7_000


def test_a_checkpoint_that_takes_long_to_write_is_written_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "CHECKPOINT_SECONDS", 0.001)
    monkeypatch.setattr(learn, "SAVING_SECONDS", 0.0001)  # so a checkpoint that takes 0.05 s is written every 0.5 s
    written: list[int] = []
    write = resume.write

    def slowly(folder: Path, settings: Any, progress: Any, state: Any) -> None:
        written.append(progress.iteration)
        time.sleep(0.05)
        write(folder, settings, progress, state)

    monkeypatch.setattr(resume, "write", slowly)
    run(Walk(), tmp_path)
    assert written[-1] == 25 and len(written) < 10  # 25 steps take milliseconds
