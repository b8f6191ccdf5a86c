"""What every file of a folder promises. A new file is tested as soon as it is there."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.stores import quickest
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.leaderboard.methods import variants
from vddbench.lookup import load, named_in_tables, names
from vddbench.spec import IPCS, Task
from vddbench.submissions import submission

ROOT = Path(__file__).parents[1]
SOURCES = sorted(p for folder in ("vddbench", "baselines", "leaderboard") for p in (ROOT / folder).rglob("*.py"))
OPENERS = {f"vddbench.data.store.{name}" for name in ("Store", "open_train", "load")}
GROUPS: dict[str, Any] = {
    **dict.fromkeys(("random", "mean", "dm"), ()),  # one of each kind is always tested, the others by `pytest -m long`
    **dict.fromkeys(("datm", "mtt_factor", "mtt_sdd", "random_video", "sfvd_t"), pytest.mark.slow),  # a minute each
}
CACHED_WORK = {"teacher": "vddbench.distillation.teacher", "experts": "vddbench.distillation.experts"}  # by reading
DOORS = {  # the only files that may import a heavy package
    "av": ("vddbench/data/decode.py", "vddbench/data/stream_codec.py"),
    "submitit": ("vddbench/cluster/slurm.py",),
    "huggingface_hub": ("vddbench/hub/",),
    "altair": ("vddbench/distillation/curves.py", "leaderboard/site/charts.py"),  # of runs, of the site
    "datasets": ("vddbench/data/hf_dataset.py", "vddbench/data/store.py"),
}


def imports(path: Path) -> Iterator[str]:
    """Modules a file imports, dotted."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("method", [m for m in names("baseline") if quickest(m)])
def test_an_iterative_baseline_has_published_settings_and_quicker_ones(method: str) -> None:
    baseline = load("baseline", method)
    assert not hasattr(baseline, "distill") and {"fast", "smoke"} <= baseline.PRESETS.keys()
    published = [baseline.Config(), *getattr(baseline, "CONFIGS", {}).values()]
    for config in [*published, *baseline.PRESETS.values()]:
        assert isinstance(config, baseline.Config) and baseline.Config.__dataclass_params__.frozen
        assert all(value is None or isinstance(value, bool | int | float | str) for value in asdict(config).values())
        assert all(isinstance(rate, float | int) and rate >= 0 for rate in config.rates().values()) and config.rates()
    iterations = [config.iterations for config in published]
    assert 0 < baseline.PRESETS["smoke"].iterations <= 3 < baseline.PRESETS["fast"].iterations <= min(iterations)
    assert all(Task.parse(task).ipc in IPCS for task in getattr(baseline, "CONFIGS", {}))


@pytest.mark.parametrize("method", [pytest.param(m, marks=GROUPS.get(m, pytest.mark.long)) for m in names("baseline")])
def test_a_baseline_makes_a_valid_submission_within_budget_and_the_same_bytes_blind_to_the_test_split(
    method: str, tiny: Store, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blind: caches are empty, the split raises, its frames are white."""
    baseline = load("baseline", method)
    assert is_dataclass(baseline.Config) and (baseline.PAPER == "" or baseline.PAPER.startswith("https://"))
    task = Task(dataset="tiny", ipc=None if method == "full" else 1)
    path = distill(method, task, 1, tmp_path, preset=quickest(method))
    assert path == tmp_path / str(task) / f"{named_in_tables(method, quickest(method))}-s1"
    read = submission.read(path, tiny.spec)
    clipset = submission.decode(read, tiny.spec)
    if clipset.labels.ndim == 1:  # the answers of a teacher of two steps may favour one class
        assert set(clipset.labels.tolist()) == set(range(tiny.spec.num_classes))
    budget = task.budget_bytes(tiny.spec)
    assert budget is None or read.payload_bytes <= budget
    [facts] = [one for one in variants(method) if (quickest(method) or "") in one.presets]
    assert read.manifest.labels == facts.labels
    assert (len(clipset) <= tiny.spec.num_classes) == (facts.division == "ipc") or method == "full"
    for cache in set(home.iterdir()) - {home / "prepared"}:  # experts and stills are made anew
        shutil.rmtree(cache)
    monkeypatch.setattr(Store, "test", property(forbidden))
    with white_test_frames(tiny):
        blind = distill(method, task, 1, tmp_path / "blind", preset=quickest(method))
    assert (path / "data.safetensors").read_bytes() == (blind / "data.safetensors").read_bytes()


def forbidden(self: Store) -> None:
    raise AssertionError("the test split was opened")


@contextmanager
def white_test_frames(store: Store) -> Iterator[None]:
    path, size = store.path / "frames.bin", store.spec.size
    original = path.read_bytes()
    spoilt = np.frombuffer(original, np.uint8).reshape(-1, size, size, 3).copy()
    for row in store.index[store.index["split"] == "test"].itertuples():
        spoilt[row.offset : row.offset + row.num_frames] = 255  # type: ignore[operator, misc]
    try:
        path.write_bytes(spoilt.tobytes())
        yield
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("method", names("baseline"))
def test_a_baseline_refuses_a_task_it_cannot_serve(method: str, tiny: Store, tmp_path: Path) -> None:
    task = Task(dataset="tiny", ipc=1 if method == "full" else None)
    says = "use the task tiny-full" if method == "full" else f"{method} needs a budget; tiny-full has none: use tiny-ipc1"
    with pytest.raises(ValueError, match=says):
        distill(method, task, 0, tmp_path, preset=quickest(method))
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=lambda p: p.stem)
def test_a_baseline_names_nothing_that_could_hold_test_videos(path: Path) -> None:
    assert not re.search(r"\bStore\b|\bopen_train\b|store import .*\bload\b|frames\.bin", path.read_text())


@pytest.mark.parametrize("path", sorted((ROOT / "baselines").glob("*.py")), ids=lambda p: p.stem)
def test_nothing_that_a_baseline_imports_can_open_a_store(path: Path) -> None:
    reached, todo = set[Path](), [path]
    while todo:
        here = todo.pop()
        reached.add(here)
        todo += {file for name in imports(here) for file in files_of(name) if file not in reached}
    assert {p.name for p in reached if OPENERS & set(imports(p))} == set()


def files_of(module: str) -> list[Path]:
    """Our source file of a dotted name, or of the package or module that it is a name of."""
    places = [ROOT.joinpath(*module.split(".")), ROOT.joinpath(*module.split(".")[:-1])]
    return [file for place in places if (file := place.with_suffix(".py")).is_file() and file.is_relative_to(ROOT)]


@pytest.mark.parametrize("method", names("baseline"))
def test_a_baseline_says_what_it_reads(method: str) -> None:
    """A teacher or experts that it can reach through its imports, unless only a preset uses them."""
    reached, todo = set[str](), [ROOT / "baselines" / f"{method}.py"]
    while todo:
        new = set(imports(todo.pop())) - reached
        reached |= new
        todo += {file for name in new if name.startswith("vddbench.baselines") for file in files_of(name)}
    needed = {name for name, module in CACHED_WORK.items() if module in reached}
    assert needed <= {reading for one in variants(method) for reading in one.reads}
    assert all(one.family for one in variants(method))


@pytest.mark.parametrize("name", names("dataset"))
def test_a_dataset_pins_its_classes_counts_and_recipe(name: str) -> None:
    module = load("dataset", name)
    spec = module.SPEC
    assert callable(module.videos)
    assert spec.num_videos is not None and min(spec.num_videos.values()) > 0
    assert list(spec.class_names) == sorted(set(spec.class_names))
    assert spec.resize is None or min(spec.resize) >= spec.size
    assert set(spec.student_steps) == {"full", *map(str, IPCS)}
    assert spec.source and spec.licence and name in module.__doc__
    assert hasattr(module, "render") != hasattr(module, "listing")  # generated, or listed by its distributor


@pytest.mark.parametrize("name", names("decoder"))
def test_a_decoder_refuses_unknown_and_missing_tensors_by_name(name: str, tiny: Store) -> None:
    with pytest.raises(ValueError, match="'surprise' is unknown") as refusal:
        load("decoder", name).decode({"surprise": torch.zeros(1)}, tiny.spec)
    assert "'labels' is missing" in str(refusal.value)


@pytest.mark.parametrize("name", names("student"))
def test_a_student_has_a_frozen_recipe(name: str) -> None:
    module = load("student", name)
    assert module.RECIPE.model_config["frozen"] and module.RECIPE.lr > 0 and "Source:" in module.__doc__


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_source_file_says_what_it_is_and_keeps_the_doors_shut(path: Path) -> None:
    text, found = path.read_text(), set(imports(path))
    assert ast.get_docstring(ast.parse(text))
    for package, doors in DOORS.items():
        assert str(path.relative_to(ROOT)).startswith(doors) or not any(name.split(".")[0] == package for name in found)
    if path.is_relative_to(ROOT / "leaderboard") and not {"exchange", "studies"} & set(path.parts):  # these two train
        assert not any(name.split(".")[0] == "torch" for name in found)
    assert not re.search(r"except Exception|except:|allow_pickle=True|weights_only=False|shell=True", text)


def test_only_evaluation_and_studies_open_the_test_split() -> None:
    openers = {str(p.relative_to(ROOT)) for p in SOURCES if re.search(r"(store|Store\(.*\))\.test\b", p.read_text())}
    assert openers <= {
        "vddbench/evaluation/evaluate.py",
        "vddbench/evaluation/ready.py",  # counts its videos
        "vddbench/evaluation/record_fields.py",  # counts its videos
        "leaderboard/studies/protocol_studies.py",
        "leaderboard/studies/testing_precision.py",
        "vddbench/data/build.py",  # counts its videos
        "vddbench/submissions/leaks.py",  # looks for test videos in a submission
        "leaderboard/studies/leaks.py",
        "leaderboard/studies/sdd.py",
        "vddbench/data/near_copies.py",  # looks for copies between train and test
    }
