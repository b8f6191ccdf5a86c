"""Submissions with records of them, and a results repo on the test server: what the tests of submit, verify, pull and reproduce
begin with. One student is trained; what the others answered is made up, and so are re-runs that came to their end before."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.builders.records import a_record
from tests.builders.submissions import edit_manifest
from tests.tools.hubserver import Hub, at, now, serving
from vddbench import hub as door
from vddbench.data.store import Store
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.ready import ReadySubmission, open_ready
from vddbench.evaluation.record_fields import identity, measured, tested_videos
from vddbench.hub import client
from vddbench.leaderboard.exchange.rerun import OwnRuns, read_one
from vddbench.leaderboard.exchange.submit import submit
from vddbench.records.files import read_record, write_record
from vddbench.records.fresh_seeds import first_fresh_seed
from vddbench.records.predictions import Predictions
from vddbench.system import home

BOARD = "lab/vddbench-results"
SET = "stranger/vddbench-tiny-ipc1-random"
ENTRY_SET = "stranger/vddbench-tiny-ipc1-mine"
SEEDS = 2
RIGHT = (10, 10, 11)  # of 32 videos: what three students got right


@functools.cache
def scored(path: Path) -> ReadySubmission:
    return open_ready(path)


def claimed(results: Path, submission: Path, right: Sequence[int], first_seed: int = 0, **changes: Any) -> list[Path]:
    """A record for each seed whose student got so many of the test videos right, as if it had been evaluated."""
    found, paths = scored(submission), []
    for seed, count in enumerate(right, first_seed):
        answers = answered(found, count, seed)
        told = identity(found.submission.manifest, found.store.digest, "convnet3d", seed) | measured(found, "convnet3d")
        fields = {**told, **answers.scores(), "train_seconds": 1.0 + seed, **changes}
        paths.append(write_record(results, a_record(**fields), answers))
    return paths


def answered(found: ReadySubmission, right: int, seed: int) -> Predictions:
    """Right on so many videos, which ones goes by the seed."""
    told = tested_videos(found.store)
    labels = told["label"].astype(np.int32)
    wrong = np.random.default_rng(seed).permutation(len(labels)) >= right
    first = (labels + wrong) % found.store.spec.num_classes
    top5 = ((first[:, None] + np.arange(5)) % found.store.spec.num_classes).astype(np.int32)
    sure = np.full(len(labels), 0.5, np.float32)
    return Predictions(**{**told, "label": labels}, top5=top5, true_probability=sure, centre_top1=first.astype(np.int32))


def ran(submission: Path, path: Path, right: int, by: str = "owner", **changes: Any) -> Path:
    """A re-run of the record at `path` in the private folder of `by`, where commands take it for their own finished work."""
    claim, answers = read_one(path), answered(scored(submission), right, 1000 + right)
    told = {**answers.scores(), "checks": {"finite": True}, "train_seconds": 7.0, "date": now().replace(".000", ""), "by": by}
    own = OwnRuns(scored(submission), by, torch.device("cpu"))
    return write_record(own.results, claim.record.model_copy(update={**told, **changes}), answers)


def ran_fresh(submission: Path, path: Path, rights: Sequence[int], by: str = "owner", where: str = BOARD) -> None:
    """The machine of `by` drew fresh seeds for the submission before, and trained a student for each of these numbers."""
    own = OwnRuns(scored(submission), by, torch.device("cpu"))
    commit = own.commit(where, lambda: "c" * 40)
    for i, right in enumerate(rights):
        ran(submission, path, right, by, seed=first_fresh_seed(own.sha256, commit) + i, drawn_from=commit)


@functools.cache
def _trained(path: Path, results: Path) -> Path:
    evaluate([path], students=["convnet3d"], seeds=[0], results=results)
    record, _ = read_record(next(results.glob("*/*/*/seed0.json")))
    claimed(results, path, [round(record.top1 * record.num_test)] * (SEEDS - 1), first_seed=1)
    return results


@pytest.fixture(scope="session")
def trained(tiny: Store, tiny_random: Path) -> Path:
    """results/ with two students of `random` on tiny-ipc1, seed 0 trained; made once for all files that import this."""
    return _trained(tiny_random, tiny_random.parents[2] / f"trained_{tiny_random.name}" / "results")


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """A stranger's own copy of them."""
    return Path(shutil.copytree(trained, tmp_path / "stranger" / "results"))


@functools.cache
def _entry(path: Path, folder: Path) -> Path:
    shutil.copytree(path, folder)
    edit_manifest(folder, method="mine")
    return folder


@pytest.fixture(scope="session")
def entry(tiny_random: Path) -> Path:
    """The same set under a name that is nobody's yet, as a stranger submits it."""
    return _entry(tiny_random, tiny_random.parents[2] / "entries" / "tiny-ipc1" / "mine")


@pytest.fixture
def entry_trained(trained: Path, tmp_path: Path) -> Path:
    """The stranger's results/ of `entry`: seed 0 trained, one more student."""
    for path in sorted(trained.glob("*/*/*/seed?.json")):
        record, found = read_record(path)
        write_record(tmp_path / "stranger" / "results", record.model_copy(update={"method": "mine"}), found)
    return tmp_path / "stranger" / "results"


@pytest.fixture
def entry_results(entry: Path, tmp_path: Path) -> Path:
    """The stranger's results/ of `entry`: three students that nobody trained."""
    claimed(tmp_path / "stranger" / "results", entry, RIGHT)
    return tmp_path / "stranger" / "results"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Own runs go to a folder of the test; prepared stores stay where they are."""
    monkeypatch.setattr(home, "home", lambda: tmp_path / "home")


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with an empty results repo of `lab`; nobody waits long. This process is `owner`, who may write there."""
    monkeypatch.setattr(client, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.chdir(tmp_path)
    with serving() as found, at(found.url, tmp_path / "hf"):
        door.create(door.Repo(BOARD))
        found.put(BOARD, {"README.md": b"# the board\n"})
        yield found


def as_stranger(monkeypatch: pytest.MonkeyPatch, who: str = "stranger") -> None:
    monkeypatch.setenv("HF_TOKEN", f"hf_{who}")


def submitted(path: Path, results: Path, *, dry_run: bool = False, repo: str | None = None, who: str = "stranger") -> list[str]:
    """What `vddbench submit` prints, run by the stranger."""
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        as_stranger(patch, who)
        submit(path, BOARD, repo=repo, results=[results], licence="unknown", dry_run=dry_run, echo=told.append)
    return told
