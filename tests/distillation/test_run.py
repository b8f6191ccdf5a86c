"""`vddbench distill` of iterative methods: what is saved, resumed, watched, refused and written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.builders.commands import call
from vddbench.baselines import dm, random
from vddbench.data.store import Split, Store
from vddbench.distillation import cached_work, learn, resume, run
from vddbench.distillation.contract import Distilled
from vddbench.distillation.resume import FILE, folder_of
from vddbench.distillation.run import distill, rounding_error
from vddbench.distillation.watch import Watch, watch_for
from vddbench.lookup import file_of
from vddbench.spec import Task
from vddbench.submissions.manifest import read_manifest
from vddbench.system.device import best_device

CPU = torch.device("cpu")
IPC1 = Task(dataset="tiny", ipc=1)
SHORT = replace(dm.PRESETS["smoke"], iterations=3, real_per_class=1)
COST = ("distill_seconds", "distill_peak_memory_bytes")
CHILD = """import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tests.distillation import test_run
from vddbench.baselines import dm
from vddbench.commands.main import main
from vddbench.distillation import learn
number = int(sys.argv.pop(1))
dm.PRESETS["smoke"] = test_run.SHORT
learn.CHECKPOINT_SECONDS = 0.0 if number == signal.SIGKILL else 60.0
def stopped(self, iteration):
    if iteration == 1:
        os.kill(os.getpid(), number)
    return test_run.quick_step(self, iteration)
dm.Matching.step = stopped
main()"""


def quick_step(self: dm.Matching, iteration: int) -> torch.Tensor:
    """A step that costs nothing, reads real clips and changes the set. Real steps are resumed in the tests of each method."""
    clips, _ = self.real.get(iteration)
    with torch.no_grad():
        self.memory.parameters["clips"] += 0.3 + clips.float().mean() / 255
    return torch.tensor(1 / (1 + iteration))


@pytest.fixture(autouse=True)
def no_runs(home: Path) -> Iterator[None]:
    yield
    shutil.rmtree(home / "distill", ignore_errors=True)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps that cost nothing; the list holds their iterations."""
    steps: list[int] = []
    monkeypatch.setattr(dm.Matching, "step", lambda self, i: (steps.append(i), quick_step(self, i))[1])
    return steps


def manifest_of(path: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((path / "manifest.json").read_bytes())
    return manifest


def interrupted_at(iteration: int, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The step of that iteration raises."""
    step = dm.Matching.step

    def stops(self: dm.Matching, i: int) -> torch.Tensor:
        if i == iteration:
            raise error
        return step(self, i)

    monkeypatch.setattr(dm.Matching, "step", stops)
    monkeypatch.setattr(learn, "CHECKPOINT_SECONDS", 0.0)


def leave_unfinished(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smoke preset of dm, interrupted after its first iteration."""
    with monkeypatch.context() as patch:
        interrupted_at(1, patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            distill("dm", IPC1, 0, out, preset="smoke")


@pytest.fixture(scope="module")
def uninterrupted(tiny: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dm.PRESETS, "smoke", SHORT)
        patch.setattr(dm.Matching, "step", quick_step)
        return distill("dm", "tiny-ipc1", 0, tmp_path_factory.mktemp("whole"), preset="smoke", device=CPU)


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code", "left"),
    [pytest.param(2, 130, 2, id="ctrl-c"), pytest.param(9, -9, 1, id="kill -9")],
)
def test_a_stopped_run_resumes_to_the_same_bytes(
    number: int, code: int, left: int, uninterrupted: Path, quick: list[int], home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    command = ["distill", "dm", "--task", "tiny-ipc1", "--preset", "smoke", "--device", "cpu", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(number), *command],
        env={**os.environ, "VDDBENCH_HOME": str(home), "OMP_NUM_THREADS": str(torch.get_num_threads())},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code and "Traceback" not in done.stderr
    assert ("stopped after iteration 2 of 3; the same command resumes" in done.stderr) == (number == 2)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    folder = folder_of("tiny-ipc1", "dm_smoke")
    assert (folder / FILE).is_file()
    monkeypatch.setitem(dm.PRESETS, "smoke", SHORT)
    assert call(*command)[0] == 0
    assert quick == list(range(left, 3))
    path = tmp_path / "tiny-ipc1" / "dm_smoke"
    assert (path / "data.safetensors").read_bytes() == (uninterrupted / "data.safetensors").read_bytes()
    mine, whole = manifest_of(path), manifest_of(uninterrupted)
    assert {k: v for k, v in mine.items() if k not in COST} == {k: v for k, v in whole.items() if k not in COST}
    assert sorted(p.name for p in folder.iterdir()) == [".lock", "loss.csv"]
    assert len(pd.read_csv(folder / "loss.csv")) == 3


def test_the_manifest_holds_the_cost_and_the_iteration(uninterrupted: Path, tiny: Store) -> None:
    manifest = manifest_of(uninterrupted)
    assert manifest["distill_seconds"] > 0 and manifest["distill_hardware"] and manifest["store_digest"] == tiny.digest
    assert 10**7 < manifest["distill_peak_memory_bytes"] < 10**12
    assert manifest["distill_clips_read"] == 3 * 8 * 1  # iterations, classes, clips a class
    assert manifest["holdout"] is False
    config = manifest["config"]
    assert config["preset"] == "smoke" and config["iterations"] == 3 and config["optimiser"] == "adam"
    assert config["iteration"] == 3 and config["iteration_chosen_by"] == "config"
    assert 0 < config["last_rounding_rms_grey_levels"] < 1


def test_a_run_does_not_resume_under_another_version(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(tmp_path, monkeypatch)
    for module, name in ((torch, "torch"), (run, "vddbench")):
        with (
            monkeypatch.context() as patch,
            pytest.raises(ValueError, match=f"under other settings: {name} .*start again with"),
        ):
            patch.setattr(module, "__version__", "2.99.0")
            distill("dm", IPC1, 0, tmp_path, preset="smoke")
    distill("dm", IPC1, 0, tmp_path, preset="smoke")
    assert quick == [0, 1]


def test_a_run_does_not_resume_after_its_method_was_changed(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(tmp_path, monkeypatch)
    changed = tmp_path / "dm.py"
    changed.write_text(f"{Path(str(dm.__file__)).read_text()}# changed")
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=r"under other settings: file .*start again with"):
        patch.setattr(run, "file_of", lambda *_: changed)
        distill("dm", IPC1, 0, tmp_path, preset="smoke")
    assert quick == [0]


def test_another_seed_is_another_set(tiny: Store, quick: list[int], tmp_path: Path) -> None:
    one, two = (distill("dm", IPC1, seed, tmp_path, preset="smoke") for seed in (0, 1))
    assert two.name == "dm_smoke-s1" and manifest_of(one)["sha256"] != manifest_of(two)["sha256"]


def test_watching_keeps_the_validation_videos_out_and_submits_the_best(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: set[tuple[bool, str]] = set()
    looking, watched, notes = False, list[float](), list[str]()
    clips, score = Split.clips, Watch.top1

    def spy(self: Split, videos: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        read.update((looking, video) for video in self.index["video"].iloc[videos])
        return clips(self, videos, starts)

    def look(self: Watch, distilled: Distilled, on_step: object) -> float:
        nonlocal looking
        looking = True
        top1 = 0.25 if watched else score(self, distilled, lambda new, note: notes.append(note))  # a real student once
        looking = False
        watched.append(top1)
        return top1

    monkeypatch.setattr(Split, "clips", spy)
    monkeypatch.setattr(Watch, "top1", look)
    monkeypatch.setitem(dm.PRESETS, "smoke", replace(dm.PRESETS["smoke"], real_per_class=6))
    path = distill("dm", IPC1, 0, tmp_path, preset="smoke", watch_every=1, device=CPU)
    held_out = set(tiny.train.index["video"][tiny.train.index["validation"]])
    seen, tested = {v for looking, v in read if not looking}, {v for looking, v in read if looking}
    assert tested == held_out and len(held_out) == 16 and 0 <= watched[0] <= 1
    assert notes[-1].startswith("loss ")  # shown while the student trains
    assert seen == set(tiny.train.index["video"]) - held_out
    manifest = manifest_of(path)
    assert manifest["holdout"] is True
    folder = folder_of("tiny-ipc1", "dm_smoke")
    looks = pd.read_csv(folder / "watch.csv")
    assert looks["iteration"].tolist() == [0, 1, 2] and (folder / "watch.png").stat().st_size > 5_000
    config = manifest["config"]
    assert config["iteration_chosen_by"] == "validation"
    assert config["iteration"] == looks["iteration"][looks["validation_top1"].idxmax()]  # the first of the largest
    assert config["validation_top1"] == pytest.approx(looks["validation_top1"].max(), abs=1e-4)


def test_the_submitted_set_is_the_one_that_scored_best(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one iteration of two: as if the second had not been."""
    payloads = {}
    for name, iterations, looks in (("two", 2, [0.1, 0.4, 0.2]), ("one", 1, [0.1, 0.4]), ("none", 1, [0.4, 0.4])):
        scores = iter(looks)
        monkeypatch.setattr(Watch, "top1", lambda self, distilled, on_step, scores=scores: next(scores))
        monkeypatch.setitem(dm.PRESETS, "smoke", replace(dm.PRESETS["smoke"], iterations=iterations))
        path = distill("dm", IPC1, 0, tmp_path / name, preset="smoke", watch_every=1)
        config = manifest_of(path)["config"]
        assert config["iteration"] == (0 if name == "none" else 1) and config["validation_top1"] == 0.4
        payloads[name] = (path / "data.safetensors").read_bytes()
    assert payloads["one"] == payloads["two"] != payloads["none"]


def test_a_store_without_validation_videos_cannot_be_watched(tiny: Store) -> None:
    for train in (tiny.holdout_train, tiny.validation):
        with pytest.raises(ValueError, match=r"tiny has \d+ validation videos of \d+, so nothing can be watched"):
            watch_for(train, IPC1, "pixels", 1, CPU)


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["dm", "--preset", "fst"], 2, "no preset of dm named 'fst'; did you mean fast or fast_dsa?"),
        (["dm_fast"], 2, "no baseline named 'dm_fast'; did you mean dm --preset fast, which tables call dm_fast?"),
        (["rfad"], 2, "rfad has no baseline of its own: It is frepo with --preset frozen"),
        (["random", "--preset", "fast"], 2, "no preset of random named 'fast' (known: none)"),
        (["dm", "--device", "gpu"], 2, "no device 'gpu' here; allowed: cpu"),
        (["dm", "--device", "cuda:9"], 2, "no device 'cuda:9' here; allowed: cpu"),
        (["random", "--watch-val", "5"], 1, "random has no iterations to watch; leave out --watch-val"),
        (["dm", "--watch-val", "0"], 2, "--watch-val"),
        (["dm", "--preset", "smoke", "--seed", "3000000000"], 2, "--seed"),
    ],
)  # fmt: skip
def test_mistakes(
    options: list[str], code: int, says: str, tiny: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    exit_code, output = call("distill", *options, "--task", "tiny-ipc1", "--out", tmp_path)
    out, err = capfd.readouterr()
    assert exit_code == code and says in " ".join((output + out + err).split())
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_what_no_manifest_can_hold_is_refused_before_the_first_iteration(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dm.PRESETS, "a" * 40, SHORT)
    monkeypatch.setitem(dm.PRESETS, "infinite", replace(SHORT, lr=float("inf")))
    for preset, seed, field in (("smoke", 2**31, "seed"), ("a" * 40, 0, "method"), ("infinite", 0, "config.lr")):
        with pytest.raises(ValueError, match=f"field '{field}"):
            distill("dm", IPC1, seed, tmp_path, preset=preset)
    assert not quick


def test_a_class_with_fewer_videos_than_ipc_is_refused_by_name(tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="dm on tiny-ipc10: class 'cross_down' of tiny has 8 train videos, 10 are needed; use a smaller ipc"
    ):
        distill("dm", Task(dataset="tiny", ipc=10), 0, tmp_path, preset="smoke")


def test_out_of_memory_ends_with_what_to_lower(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    interrupted_at(1, monkeypatch, torch.OutOfMemoryError("CUDA out of memory"))  # there is no GPU to fill
    code, output = call("distill", "dm", "--task", "tiny-ipc1", "--preset", "smoke", "--out", tmp_path)
    said = " ".join((output + "".join(capfd.readouterr())).split())
    assert code == 1 and "memory ran out at iteration 1" in said and "Traceback" not in said
    assert said.endswith(f": lower real_per_class in {file_of('baseline', 'dm')}")  # no preset needs less than smoke


def test_a_set_whose_values_are_far_too_large_is_refused(tiny: Store) -> None:
    """Labels of two classes leave no bytes for a scale, so such values are cut off, and the squared error is infinite."""
    spec = tiny.spec.model_copy(update={"class_names": tiny.spec.class_names[:2]})
    two = replace(tiny.train.only(tiny.train.labels < 2), spec=spec)
    learner = dm.learner(two, IPC1, SHORT, 0, CPU)
    assert rounding_error(learner, "pixels", two)["last_rounding_rms_grey_levels"] < 1
    with torch.no_grad():
        learner.memory.parameters["clips"] *= 1e30
    with pytest.raises(
        ValueError, match=r"values up to \d.*, too large to be stored: lower the learning rates in the method's"
    ):
        rounding_error(learner, "pixels", two)


def test_a_set_that_looks_unlike_the_data_is_reported(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    warning = "warning: THE CLIPS LOOK UNLIKE THE DATA"
    distill("random", IPC1, 0, tmp_path)
    assert warning not in capfd.readouterr().err

    def far(self: dm.Matching, iteration: int) -> torch.Tensor:
        with torch.no_grad():
            self.memory.parameters["clips"] *= 1.6
        return torch.tensor(1.0)

    monkeypatch.setattr(dm.Matching, "step", far)
    distill("dm", IPC1, 0, tmp_path, preset="smoke")
    assert warning in capfd.readouterr().err


def test_a_submission_that_exists_is_not_distilled_again_without_force(tiny: Store, quick: list[int], tmp_path: Path) -> None:
    path = distill("dm", IPC1, 0, tmp_path, preset="smoke")
    with pytest.raises(ValueError, match="dm_smoke exists; --force"):
        distill("dm", IPC1, 0, tmp_path, preset="smoke")
    assert quick == [0, 1]
    made = manifest_of(path)["sha256"]
    distill("dm", IPC1, 0, tmp_path, force=True, preset="smoke")
    assert quick == [0, 1, 0, 1] and manifest_of(path)["sha256"] == made


def test_an_unfinished_run_of_other_settings_is_refused_and_force_starts_anew(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_unfinished(tmp_path, monkeypatch)
    before = (folder_of("tiny-ipc1", "dm_smoke") / FILE).read_bytes()
    prepared: list[int] = []
    learner = dm.learner
    monkeypatch.setattr(dm, "learner", lambda *given: (prepared.append(1), learner(*given))[1])
    with pytest.raises(ValueError, match=r"watch_every None \(now 2\).*or start again with --force"):
        distill("dm", IPC1, 0, tmp_path, preset="smoke", watch_every=2)
    monkeypatch.setitem(dm.PRESETS, "smoke", replace(dm.PRESETS["smoke"], real_per_class=3))  # a newer vddbench
    with pytest.raises(ValueError, match=r"real_per_class 2 \(now 3\)"):
        distill("dm", IPC1, 0, tmp_path, preset="smoke")
    assert (folder_of("tiny-ipc1", "dm_smoke") / FILE).read_bytes() == before and quick == [0]
    assert prepared == []  # before hours of experts
    distill("dm", IPC1, 0, tmp_path, force=True, preset="smoke")
    assert quick == [0, 0, 1]


def test_a_damaged_checkpoint_is_refused_and_force_starts_anew(tiny: Store, quick: list[int], tmp_path: Path) -> None:
    folder = folder_of("tiny-ipc1", "dm_smoke")
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"half a checkpoi")
    with pytest.raises(ValueError, match=r"is damaged .* start again with --force"):
        distill("dm", IPC1, 0, tmp_path, preset="smoke")
    distill("dm", IPC1, 0, tmp_path, force=True, preset="smoke")
    assert quick == [0, 1] and not (folder / FILE).exists()


def test_a_forced_run_that_was_interrupted_resumes_with_the_same_command(
    tiny: Store, quick: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--force` would otherwise throw away what it had done itself."""
    monkeypatch.setitem(dm.PRESETS, "smoke", replace(dm.PRESETS["smoke"], iterations=3))
    path = distill("dm", IPC1, 0, tmp_path, preset="smoke")
    made = (path / "data.safetensors").read_bytes()
    with monkeypatch.context() as patch:
        interrupted_at(2, patch, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            distill("dm", IPC1, 0, tmp_path, force=True, preset="smoke")
    distill("dm", IPC1, 0, tmp_path, force=True, preset="smoke")
    assert quick == [0, 1, 2, 0, 1, 2] and (path / "data.safetensors").read_bytes() == made


def test_two_processes_at_one_run_are_refused(tiny: Store, quick: list[int], tmp_path: Path) -> None:
    with resume.locked(folder_of("tiny-ipc1", "dm_smoke")):
        with pytest.raises(ValueError, match=r"another process is distilling in .*; wait for it, or use another --seed"):
            distill("dm", IPC1, 0, tmp_path, preset="smoke")
        distill("dm", IPC1, 1, tmp_path, preset="smoke")
    assert quick == [0, 1]


def test_a_method_that_ignores_its_seed_is_reported(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = random.distill
    monkeypatch.setattr(random, "distill", lambda *given: original(*given[:3], np.random.default_rng(7)))
    for seed in (0, 1):
        distill("random", IPC1, seed, tmp_path)
    assert "seed 1 of random has the same bytes as seed 0" in " ".join(capsys.readouterr().err.split())


def test_cached_work_counts_once_whether_this_process_made_it_all_a_part_of_it_or_nothing(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, own = 0.0, 3.0

    def work(name: str, seconds: float, here: float, inside: str = "") -> cached_work.Work:
        """seconds: its cost in all processes. here: the part of it that the process spends that makes it."""

        def make() -> cached_work.Fresh:
            nonlocal now
            if inside:
                work(inside, 5.0, 5.0)
            now += here
            return cached_work.Fresh(torch.zeros(1), seconds, 1)

        return cached_work.do_once(tmp_path / f"{name}.safetensors", name, make)

    def method(*_: object) -> Distilled:
        nonlocal now
        now += own
        teacher = work("teacher", 30.0, 10.0, inside="weights")  # its training was resumed; `weights` are part of its cost
        tubes = work("tubes", 4.0, 4.0)
        return Distilled(tensors={}, chosen=cached_work.cost_of("teacher", teacher) | cached_work.cost_of("tubes", tubes))

    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(cached_work, "time", clock)
    job = run.Job(method="herding", task=IPC1, seed=0, config=None, device=best_device())

    def cost() -> float:
        return run._made_at_once(SimpleNamespace(distill=method), job, tiny.train).seconds  # type: ignore[arg-type]

    assert cost() == 3 + 30 + 4  # all of it made, the teacher in part
    assert cost() == 3 + 30 + 4  # all of it cached
    (tmp_path / "tubes.safetensors").unlink()
    assert cost() == 3 + 30 + 4  # the teacher cached, the tubes made
    own = 100.0
    assert cost() == 100 + 30 + 4  # a process that is slower than its cached work


def test_a_coreset_costs_what_its_teacher_took_also_when_that_is_cached(tiny: Store, home: Path, tmp_path: Path) -> None:
    shutil.rmtree(home / "teachers", ignore_errors=True)
    first, second = (read_manifest(distill(method, IPC1, 0, tmp_path)) for method in ("herding", "k_center"))
    assert first.config["teacher_seconds"] == second.config["teacher_seconds"]
    taught = second.config["teacher_seconds"]
    assert isinstance(taught, float) and taught > 0
    assert all(made.distill_seconds is not None and made.distill_seconds >= taught for made in (first, second))
    assert first.distill_clips_read == second.distill_clips_read == 2 * len(tiny.train)
    (file,) = (home / "teachers").glob("tiny-*.safetensors")
    file.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=rf"teacher {file} cannot be used .*; delete the file and run again"):
        distill("kmeans", IPC1, 0, tmp_path)
    file.unlink()
