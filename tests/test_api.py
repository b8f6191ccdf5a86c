"""`import vddbench`, as in a notebook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import vddbench
from vddbench.data.store import Store

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_notebook_distils_checks_evaluates_ranks_and_loads(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = vddbench.distill("random", "tiny-ipc1", seed=0)
    assert folder == Path("submissions/tiny-ipc1/random")

    report = vddbench.check(str(folder))
    assert report.accepted and not report.reasons and "accepted" in str(report)

    records = vddbench.evaluate("submissions/tiny-ipc1/random", seeds=3)
    assert records["seed"].tolist() == [0, 1, 2] and records["task"].unique().tolist() == ["tiny-ipc1"]
    assert records["environment_precision"].isin(["fp32", "bf16"]).all() and records["checks_finite"].all()
    written = [Path(path).read_bytes() for path in records["path"]]
    again = vddbench.evaluate(Path("submissions/tiny-ipc1/random"), seeds=[0, 1, 2])
    assert again.equals(records) and [Path(path).read_bytes() for path in again["path"]] == written
    assert vddbench.load_records(task="tiny-ipc1").equals(records)

    table = vddbench.rank(results="results", task="tiny-ipc1", division="ipc")
    assert table[["division", "method", "seeds", "rank"]].values.tolist() == [["ipc", "random", 3, 1]]
    assert table.loc[0, "top1"] == pytest.approx(records["top1"].mean())

    train = vddbench.load("tiny", "train")
    clips, labels = next(iter(DataLoader(train, batch_size=5)))
    assert clips.shape == (5, *tiny.spec.clip_shape) and len(train) == len(tiny.train)
    assert labels.tolist() == tiny.train.labels[:5].tolist()


def test_references_are_counted_once_and_a_track_keeps_them() -> None:
    results = ROOT / "leaderboard" / "results"
    ranked = vddbench.rank(results)
    full = ranked[ranked["method"] == "full"].set_index("task")["seeds"]
    assert full.index.is_unique and full["avletters10-full"] == 1
    assert not vddbench.load_records(results)["path"].duplicated().any()
    assert vddbench.rank(results, track="soft")["gain"].notna().all()


def test_a_mistake_says_what_is_allowed(tiny: Store, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no task named 'nothing-ipc1'"):
        vddbench.rank(ROOT / "leaderboard" / "results", task="nothing-ipc1")
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        vddbench.evalute  # noqa: B018


def test_importing_it_is_cheap_and_types_need_no_torch() -> None:
    program = """import sys, vddbench
heavy = {"pydantic", "pandas"} & set(sys.modules)
vddbench.Task, vddbench.Record
print(heavy, "torch" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["set()", "False"]


def test_the_clips_of_a_submission_are_those_that_were_stored(tiny: Store, tiny_random: Path) -> None:
    clip_set = vddbench.load_clips(tiny_random)
    assert torch.equal(clip_set.clips, load_file(tiny_random / "data.safetensors")["clips"])
    assert clip_set.clips.shape[1:] == tiny.spec.clip_shape
    assert sorted(clip_set.labels.tolist()) == list(range(tiny.spec.num_classes))


def test_the_clips_of_a_refused_submission_are_not_loaded(tiny_random: Path, tmp_path: Path) -> None:
    renamed = shutil.copytree(tiny_random, tmp_path / "tiny-ipc1" / "mine")
    with pytest.raises(ValueError, match=r"mine is refused:\n.*random"):
        vddbench.load_clips(renamed)


def test_every_public_name_is_there_and_documented() -> None:
    for name in vddbench.__all__:
        assert getattr(vddbench, name).__doc__
    assert set(vddbench.__all__) <= set(dir(vddbench))


@pytest.mark.long
def test_a_wheel_is_one_small_package_that_works_elsewhere(tmp_path: Path) -> None:
    """It is built from the sources as they are and unpacked far from the clone. The demo trains one of these sets."""
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < 5_000_000  # most of it are the records of the demo's table
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
        [description] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    assert "# vddbench" in description and not re.search(r"\]\((?!https://|#)", description)  # no link that PyPI cannot follow
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2 and "vddbench" in tops and "vddbench/py.typed" in names
    assert not [name for name in names if "/studies/" in name]
    results = [name for name in names if "/results/" in name]
    assert {name.split("/")[3] for name in results} == {"movingshapes-ipc1"} and not [n for n in results if n.endswith(".webp")]
    (tmp_path / "empty").mkdir()
    program = """import sys
sys.path[:0] = [sys.argv[1]]
import vddbench
from vddbench.commands.demo import submission
from vddbench.leaderboard.evidence import BUNDLED
assert vddbench.__file__.startswith(sys.argv[1])
vddbench.prepare("movingshapes")
for name in ("random", "random_jpeg", "random_still", "random_video"):
    assert vddbench.check(submission(name)).accepted
print(*vddbench.rank(results=BUNDLED, task="movingshapes-ipc1")["method"])
vddbench.distill("mean", "movingshapes-ipc1")
"""
    command = [sys.executable, "-c", program, str(tmp_path / "site")]
    environment = {**os.environ, "VDDBENCH_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"random_jpeg", "random_still", "random_video", "random"} <= set(done.stdout.split())
    assert (tmp_path / "empty/submissions/movingshapes-ipc1/mean/manifest.json").is_file()
