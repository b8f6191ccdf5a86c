"""The static-dynamic methods: published settings, stills that are learned once, slots that fit the budget."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.builders.submissions import TASK
from vddbench.baselines import _slots, dm_sdd, frepo_sdd, mtt_sdd
from vddbench.baselines.static_dc import Config, Matching
from vddbench.data.store import Split, Store
from vddbench.distillation.run import distill
from vddbench.distillation.synthetic_clips import real_start
from vddbench.lookup import load
from vddbench.spec import Task
from vddbench.submissions import submission

CPU = torch.device("cpu")
QUICK = Config(iterations=4, real_per_class=4, optimiser="adam", lr=0.05)
METHODS = ["dm_sdd", "mtt_sdd", "frepo_sdd"]
TASK_OF_TINY = Task(dataset="tiny", ipc=1)


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
    with pytest.raises(ValueError, match=r"stills .* cannot be used .*delete the file and run again"):
        _slots.stills(split, TASK, 1, QUICK, 9, CPU)


def test_the_settings_are_those_of_the_paper() -> None:
    dm, mtt, frepo = dm_sdd.Config(), mtt_sdd.Config(), frepo_sdd.Config()
    assert (dm.iterations, dm.momentum, dm.lr, dm.lr_hallucinator) == (5000, 0.95, 1e-4, 1e-5)
    assert dm_sdd.CONFIGS["miniucf-ipc5"].rates() == {
        "dynamics": 1e3, "hallucinator.weight": 1e-6, "hallucinator.bias": 1e-6
    }  # fmt: skip
    assert (mtt.iterations, mtt.lr, mtt.lr_hallucinator, mtt.inner_steps) == (10_000, 1e4, 1e-3, 10)
    assert (mtt.momentum, mtt.student_lr_momentum) == (0.95, 0.9)
    five = mtt_sdd.CONFIGS["miniucf-ipc5"]
    assert (five.inner_steps, five.inner_batch, five.lr_of_student_lr, five.momentum) == (5, 128, 0.0, 0.95)
    assert (frepo.iterations, frepo.lr, frepo.lr_hallucinator) == (10_000, 1e2, 1e-3)
    ends = {name: rate * frepo.floors()[name] for name, rate in frepo.rates().items()}
    assert list(ends.values()) == pytest.approx([1e-4] * 3)  # a tenth of the hallucinator's rate, for all
    assert [(c.stills_per_slot, c.dynamics_per_slot) for c in (dm, mtt, frepo)] == [(2, 2), (2, 2), (1, 1)]
    for config in (dm, mtt, frepo):
        assert all(isinstance(value, int | float | str) for value in asdict(config).values())  # flat, for the manifest


def test_a_slot_of_one_still_and_one_motion_decodes_to_one_clip(tiny: Store) -> None:
    config = replace(dm_sdd.PRESETS["smoke"], **_slots.ONE_CLIP_SLOTS)
    decoded = _slots.slots_memory(tiny.train, TASK_OF_TINY, "dm_sdd", config, 0, CPU).exact()
    assert len(decoded) == tiny.spec.num_classes
    assert dm_sdd.PRESETS["fast_1x1"] == replace(dm_sdd.PRESETS["fast"], stills_per_slot=1, dynamics_per_slot=1)


def test_each_inner_step_of_mtt_sdd_draws_a_pair_of_each_slot_and_of_large_sets_passes_in_parts(tiny: Store) -> None:
    few = tiny.train.only(tiny.train.index.groupby("label").cumcount().to_numpy() < 2)
    config = replace(mtt_sdd.PRESETS["smoke"], inner_steps=6)
    whole, parts = (mtt_sdd.learner(few, TASK_OF_TINY, c, 0, CPU) for c in (config, replace(config, inner_batch=5)))
    clips, labels, batches = whole.draw(np.random.default_rng(0))
    assert clips.shape[0] == len(labels) == 4 * 8 and labels.tolist() == [label for label in range(8) for _ in range(4)]
    drawn = [rows.sort().values for rows in batches if rows is not None]
    assert len(drawn) == 6 and all(torch.equal(rows // 4, torch.arange(8)) for rows in drawn)  # each slot once a step
    assert len({tuple((rows % 4).tolist()) for rows in drawn}) > 1  # and not the same pairs
    slots = [rows // 4 for rows in parts.draw(np.random.default_rng(0)).batches if rows is not None]
    assert [len(taken) for taken in slots] == [5, 3] * 3
    assert all(torch.cat(slots[i : i + 2]).sort().values.tolist() == list(range(8)) for i in (0, 2, 4))  # passes over all


@pytest.mark.parametrize("method", [m if m == "dm_sdd" else pytest.param(m, marks=pytest.mark.long) for m in METHODS])
def test_a_submission_fits_the_budget_and_a_resumed_run_gives_the_same_bytes(method: str, tiny: Store, tmp_path: Path) -> None:
    task, baseline = Task(dataset="tiny", ipc=1), load("baseline", method)
    smoke = baseline.PRESETS["smoke"]
    read = submission.read(distill(method, task, 1, tmp_path, preset="smoke", device=CPU), tiny.spec)
    first, second = (baseline.learner(tiny.train, task, smoke, 1, CPU) for _ in range(2))
    before = first.distilled()
    assert before.chosen["static_clips_read"] == 8 == read.manifest.config["static_clips_read"]
    assert read.manifest.distill_clips_read is not None and read.manifest.distill_clips_read > 8  # the stills' and its own
    first.step(0)
    second.restore({name: value.clone() for name, value in first.state().items()})
    second.step(1)
    resumed = second.distilled().tensors
    assert resumed.keys() == read.tensors.keys()
    assert all(torch.equal(value, read.tensors[name]) for name, value in resumed.items())
    assert not torch.equal(resumed["hallucinator_weight"], before.tensors["hallucinator_weight"])
    budget = task.budget_bytes(tiny.spec)
    assert budget is not None and read.payload_bytes <= budget
    decoded = submission.decode(read, tiny.spec)
    assert torch.equal(decoded.labels.bincount(), torch.full((8,), 1 if method == "frepo_sdd" else 4))


@pytest.mark.parametrize("method", METHODS)
def test_too_few_videos_are_refused(method: str, tiny: Store) -> None:
    baseline = load("baseline", method)
    config = baseline.PRESETS["smoke"]
    says = f"10 slots of {config.stills_per_slot} stills per class, each from another video, and a class of tiny has 8; use"
    with pytest.raises(ValueError, match=says):
        baseline.learner(tiny.train, Task(dataset="tiny", ipc=10), config, 0, CPU)


def test_a_fast_start_shows_the_mean_clips(tiny: Store) -> None:
    """A motion on the still of its own videos: but for colour, which motions have none of, the mean of these videos."""
    config = replace(dm_sdd.PRESETS["fast"], static_iterations=1, static_lr=0.0, start_mean_of=3)
    memory = _slots.slots_memory(tiny.train, TASK_OF_TINY, "dm_sdd", config, 0, CPU)
    means, _ = real_start(tiny.train, 2, np.random.default_rng(0), 3)
    shown = memory.exact().clips.reshape(8, 2, 2, *tiny.spec.clip_shape)
    own = torch.stack([shown[:, i, i] for i in range(2)], 1).flatten(0, 1)
    assert (own.mean((1, 4)) - means.mean((1, 4))).abs().max() < 0.01  # the still of all colours
    assert (own.mean(4) - means.mean(4)).abs().max() < 8  # grey levels; the motions' colours are weighed by std
