"""From a submission to a record: reproducible, resumable, never overwritten, and blind to the test videos before the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.builders.stores import SIZE
from tests.builders.students import killed_after
from tests.builders.submissions import edit_manifest
from vddbench.data import frames_check
from vddbench.data.frames_check import check_test_frames
from vddbench.data.store import Store
from vddbench.evaluation import evaluate as evaluating
from vddbench.evaluation import ready, record_fields, referee
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.resume import Checkpoint
from vddbench.evaluation.session import Session
from vddbench.evaluation.students import convnet3d
from vddbench.protocol import PROTOCOL
from vddbench.records.files import read_record

CLOCK = {"train_seconds", "test_seconds", "peak_memory_bytes", "date"}


def seed0(submission: Path, results: Path, **options: Any) -> Path:
    """The path of the record of seed 0, evaluated if necessary."""
    (path,) = evaluate(submission, students="convnet3d", seeds=[0], results=results, **options)
    return path


@pytest.fixture(scope="module")
def evaluated(tiny_random: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("evaluated")
    seed0(tiny_random, results)
    return results


@pytest.fixture
def results(evaluated: Path, tmp_path: Path) -> Path:
    """A results folder with the record of seed 0."""
    return Path(shutil.copytree(evaluated, tmp_path / "results"))


@pytest.fixture
def copy(tiny_random: Path, tmp_path: Path) -> Path:
    """A copy of the submission, to be changed."""
    return Path(shutil.copytree(tiny_random, tmp_path / "tiny-ipc1" / "random"))


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "evaluate_seed", lambda *args: pytest.fail("a student was trained"))


def record_of(results: Path) -> Path:
    return next(results.rglob("seed0.json"))


def with_lr(monkeypatch: pytest.MonkeyPatch, lr: float) -> None:
    """Replaces the student's recipe."""
    student = SimpleNamespace(RECIPE=convnet3d.RECIPE.model_copy(update={"lr": lr}), build=convnet3d.build)
    for module in (evaluating, ready, record_fields):
        monkeypatch.setattr(module, "load", lambda kind, name: student)


def test_the_same_seed_gives_the_same_record(tiny_random: Path, evaluated: Path, tmp_path: Path) -> None:
    first, second = record_of(evaluated), seed0(tiny_random, tmp_path)
    assert read_record(first)[0].model_dump(exclude=CLOCK) == read_record(second)[0].model_dump(exclude=CLOCK)


def test_a_record_says_what_was_measured(tiny: Store, tiny_random: Path, evaluated: Path) -> None:
    path = record_of(evaluated)
    record, predictions = read_record(path)
    sha8 = json.loads((tiny_random / "manifest.json").read_bytes())["sha256"][:8]
    assert path == evaluated / "tiny-ipc1" / f"random@{sha8}" / "convnet3d" / "seed0.json"
    assert record.payload_bytes == record.budget_bytes == 8 * (8 * SIZE * SIZE * 3 + 8)
    assert (record.num_test, record.clip_steps, record.clips_per_class) == (32, 2 * 8, 1)
    assert record.store_digest == tiny.digest
    assert record.protocol_hash == PROTOCOL.hash(convnet3d.RECIPE)
    assert record.checks == {"finite": True, "finite_loss": True}
    assert list(predictions.video) == tiny.test.index["video"].tolist()


def test_only_missing_seeds_are_trained_and_nothing_is_overwritten(tiny_random: Path, results: Path) -> None:
    before = {path: path.read_bytes() for path in record_of(results).parent.iterdir()}
    paths = evaluate(str(tiny_random), students=["convnet3d"], seeds=2, results=str(results))  # as text, and seeds 0 and 1
    assert [path.name for path in paths] == ["seed0.json", "seed1.json"]
    assert all(path.read_bytes() == content for path, content in before.items())


def test_force_writes_a_new_file_beside_and_leaves_another_process_its_checkpoint(
    tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = record_of(results)
    content, other = first.read_bytes(), first.with_suffix(".unfinished")
    other.write_bytes(b"another process trains here")
    read: list[Path] = []
    original = Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, kind: (read.append(self.path), original(self, kind))[1])
    second = seed0(tiny_random, results, force=True)
    assert second.name == "seed0.rerun1.json" and first.read_bytes() == content
    assert read_record(second)[0].top1 == read_record(first)[0].top1
    assert read == [first.with_suffix(".rerun.unfinished")] and other.exists()


def test_a_collapsed_student_is_a_result(tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_lr(monkeypatch, 1e30)
    record, _ = read_record(seed0(tiny_random, tmp_path))
    assert record.top1 == 0.0
    assert record.checks["finite"] is False


def test_a_submission_of_another_prepared_store_is_refused(copy: Path, tmp_path: Path, no_training: None) -> None:
    edit_manifest(copy, store_digest="0" * 64, store_fingerprint=None)
    with pytest.raises(ValueError, match="names the prepared store 0000000000000000"):
        seed0(copy, tmp_path / "results")


def test_more_test_videos_than_a_record_may_have_are_refused(
    tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch, no_training: None
) -> None:
    monkeypatch.setattr(ready, "MOST_TEST_VIDEOS", 1)
    with pytest.raises(ValueError, match="test videos; a record has at most 1: prepare fewer"):
        evaluate(tiny_random, students="convnet3d", seeds=[0], results=results)


def test_test_videos_that_changed_on_the_disk_are_found_before_a_student_is_trained(
    tiny: Store, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VDDBENCH_HOME", str(tmp_path))
    store = replace(tiny, path=Path(shutil.copytree(tiny.path, tmp_path / "prepared" / tiny.name)))
    check_test_frames(store)
    test = store.index[store.index["split"] == "test"]
    with (store.path / "frames.bin").open("r+b") as file:  # its first test video becomes a copy of its second one
        file.seek(int(test["offset"].iloc[1]) * SIZE * SIZE * 3)
        frames = file.read(8 * SIZE * SIZE * 3)
        file.seek(int(test["offset"].iloc[0]) * SIZE * SIZE * 3)
        file.write(frames)
    monkeypatch.setattr(referee, "train", lambda *args, **options: pytest.fail("a student was trained"))
    with pytest.raises(ValueError, match=f"no longer holds the prepared frames of 1 videos: {test['video'].iloc[0]};"):
        seed0(tiny_random, tmp_path / "results")


def test_test_videos_are_hashed_once_a_process(tiny: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    check_test_frames(tiny)
    monkeypatch.setattr(frames_check, "check_frames", lambda *args: pytest.fail("the frames were read again"))
    check_test_frames(tiny)


def test_a_record_of_another_recipe_is_refused(tiny_random: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_lr(monkeypatch, 0.001)
    with pytest.raises(ValueError, match=r"made under other conditions: protocol_hash .*; use another --results folder"):
        seed0(tiny_random, results)


def test_a_record_is_refused_if_its_manifest_now_names_external_data(copy: Path, results: Path, no_training: None) -> None:
    edit_manifest(copy, external_data="a Kinetics teacher")
    with pytest.raises(ValueError, match=r"external False \(now True\)"):
        seed0(copy, results)


def test_a_damaged_record_is_moved_aside_and_made_again(tiny_random: Path, results: Path) -> None:
    path = record_of(results)
    record, damaged = read_record(path)[0], path.read_bytes()
    next(file for file in path.parent.iterdir() if file != path).unlink()  # its predictions
    assert seed0(tiny_random, results) == path
    assert read_record(path)[0].top1 == record.top1
    assert [aside.read_bytes() for aside in path.parent.glob("seed0.broken*.json")] == [damaged]


def test_a_record_that_another_process_made_meanwhile_stays(
    tiny_random: Path, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = evaluating.evaluate_seed

    def overtaken(*args: Any) -> Any:
        shutil.copytree(evaluated, tmp_path, dirs_exist_ok=True)
        return original(*args)

    monkeypatch.setattr(evaluating, "evaluate_seed", overtaken)
    path = seed0(tiny_random, tmp_path)
    assert path.read_bytes() == record_of(evaluated).read_bytes()
    assert len(list(path.parent.glob("*.json"))) == 1


def test_an_unwritable_results_folder_a_bad_submission_and_an_unknown_student_are_refused_before_training(
    tiny_random: Path, tmp_path: Path, no_training: None
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        seed0(tiny_random, tmp_path / "file" / "results")
    with pytest.raises(FileNotFoundError):
        evaluate([tiny_random, tmp_path / "nothing"], students="convnet3d", seeds=1, results=tmp_path / "results")
    with pytest.raises(LookupError, match=r"no student named 'convnet3'; did you mean convnet3d"):
        evaluate(tiny_random, students=["convnet3d", "convnet3"], seeds=1, results=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("addition", "expected"), [("", [1]), ("# changed", [1, 1])], ids=["same file", "edited file"])
def test_a_killed_student_resumes_unless_its_file_was_edited_and_gives_the_same_record(
    addition: str, expected: list[int], tiny_random: Path, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_after(1):
        seed0(tiny_random, tmp_path)
    (unfinished,) = tmp_path.rglob("*.unfinished")
    now = tmp_path / "convnet3d.py"
    now.write_text(f"{Path(str(convnet3d.__file__)).read_text()}{addition}")
    steps: list[int] = []
    after_step = Session.after_step
    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "file_of", lambda *_: now)
        patch.setattr(Session, "after_step", lambda self, *args, **kw: (steps.append(1), after_step(self, *args, **kw))[1])
        path = seed0(tiny_random, tmp_path)
    assert steps == expected and not unfinished.exists()  # of 2
    (record, answers), (_, others) = read_record(path), read_record(record_of(evaluated))
    assert record.train_seconds > 0 and np.array_equal(answers.true_probability, others.true_probability)
    unfinished.write_bytes(b"of a process that another one overtook")
    assert seed0(tiny_random, tmp_path) == path and not unfinished.exists()


def test_a_signal_during_the_test_ends_the_call_after_the_record(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    original, sent = referee.predict, list[int]()

    def terminated(*args: Any) -> Any:
        if not sent:
            sent.append(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return original(*args)

    monkeypatch.setattr(referee, "predict", terminated)
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluate(tiny_random, students="convnet3d", seeds=2, results=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["seed0.json"]


@pytest.mark.long
def test_ctrl_c_leaves_whole_records_and_the_next_call_resumes(home: Path, tiny_random: Path, results: Path) -> None:
    command = [sys.executable, "-m", "vddbench", "evaluate", str(tiny_random), "--seeds", "40", "--results", str(results)]
    process = subprocess.Popen(command, env={**os.environ, "VDDBENCH_HOME": str(home)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(results.rglob("seed1.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr and "Traceback" not in stderr
    suffixes = {path.suffix for path in record_of(results).parent.iterdir()}  # of the interrupted student: .unfinished
    assert len(suffixes - {".lock", ".unfinished"}) == 2 and ".json" in suffixes
    recorded = list(results.rglob("seed*.json"))
    for path in recorded:
        read_record(path)
    assert 1 < len(recorded) < 40
    assert len(evaluate(tiny_random, students="convnet3d", seeds=len(recorded) + 1, results=results)) == len(recorded) + 1


def test_a_submission_of_the_same_store_decoded_by_another_version_is_accepted(copy: Path, tmp_path: Path) -> None:
    manifest = json.loads((copy / "manifest.json").read_bytes())
    edit_manifest(copy, store_digest="0" * 64)
    record, _ = read_record(seed0(copy, tmp_path / "results"))
    assert record.store_digest == manifest["store_digest"] and record.store_fingerprint == manifest["store_fingerprint"]
