"""From a submission to a verified record: reproducible, resumable, never overwritten, and blind to the test videos before."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.builders.stores import SIZE
from vddbench.data.store import Store
from vddbench.evaluation import evaluate as evaluating
from vddbench.evaluation import resume as unfinished
from vddbench.evaluation import train as training
from vddbench.evaluation.evaluate import evaluate
from vddbench.evaluation.resume import Unfinished
from vddbench.evaluation.students import convnet3d
from vddbench.protocol import V1
from vddbench.records.files import read_record

CLOCK = {"train_seconds", "test_seconds", "peak_memory_bytes", "date"}


def test_the_same_seed_gives_the_same_record(tiny_random: Path, tmp_path: Path) -> None:
    found = []
    for folder in ("first", "second"):
        (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[3], results=tmp_path / folder)
        found.append(read_record(path)[0].model_dump(exclude=CLOCK))
    assert found[0] == found[1]


def test_a_record_says_what_was_measured(tiny: Store, tiny_random: Path, tmp_path: Path) -> None:
    (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    record, predictions = read_record(path)
    sha8 = json.loads((tiny_random / "manifest.json").read_bytes())["sha256"][:8]
    assert path == tmp_path / "tiny-ipc1" / f"random@{sha8}" / "convnet3d" / "seed0.json"
    assert record.payload_bytes == record.budget_bytes == 8 * (8 * SIZE * SIZE * 3 + 8)
    assert (record.num_test, record.clip_steps, record.clips_per_class) == (32, 2 * 8, 1)
    assert record.store_digest == tiny.digest
    assert record.protocol_hash == V1.hash(convnet3d.RECIPE)
    assert record.checks == {"finite": True, "finite_loss": True}
    assert list(predictions.video) == tiny.test.index["video"].tolist()


def test_only_missing_seeds_are_run_and_nothing_is_overwritten(tiny_random: Path, tmp_path: Path) -> None:
    (first,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    before = {p: p.read_bytes() for p in first.parent.iterdir()}
    paths = evaluate([tiny_random], students=["convnet3d"], seeds=[0, 1], results=tmp_path)
    assert [p.name for p in paths] == ["seed0.json", "seed1.json"]
    assert all(p.read_bytes() == content for p, content in before.items())


def test_force_writes_a_new_file_beside(tiny_random: Path, tmp_path: Path) -> None:
    call = {"students": ["convnet3d"], "seeds": [0], "results": tmp_path}
    (first,) = evaluate([tiny_random], **call)  # type: ignore[arg-type]
    content = first.read_bytes()
    (second,) = evaluate([tiny_random], **call, force=True)  # type: ignore[arg-type]
    assert second.name == "seed0.rerun1.json"
    assert first.read_bytes() == content
    assert read_record(second)[0].top1 == read_record(first)[0].top1


def test_a_collapsed_student_is_a_result(tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hot = SimpleNamespace(RECIPE=convnet3d.RECIPE.model_copy(update={"lr": 1e30}), build=convnet3d.build)
    monkeypatch.setattr(evaluating, "load", lambda kind, name: hot)
    (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    record, _ = read_record(path)
    assert record.top1 == 0.0
    assert record.checks["finite"] is False


def test_a_submission_of_another_prepared_store_is_refused(tiny_random: Path, tmp_path: Path) -> None:
    other = tmp_path / "tiny-ipc1" / "random"
    shutil.copytree(tiny_random, other)
    manifest = json.loads((other / "manifest.json").read_bytes())
    (other / "manifest.json").write_text(json.dumps({**manifest, "store_digest": "0" * 64, "store_fingerprint": None}))
    with pytest.raises(ValueError, match="names the prepared store 0000000000000000"):
        evaluate([other], students=["convnet3d"], seeds=[0], results=tmp_path / "results")


def test_a_record_made_under_another_recipe_is_not_taken_for_this_one(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    slower = SimpleNamespace(RECIPE=convnet3d.RECIPE.model_copy(update={"lr": 0.001}), build=convnet3d.build)
    monkeypatch.setattr(evaluating, "load", lambda kind, name: slower)
    with pytest.raises(ValueError, match=r"made under other conditions: protocol_hash"):
        evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)


def test_a_record_does_not_outlive_what_its_manifest_admits(tiny_random: Path, tmp_path: Path) -> None:
    """The payload is the same, but now it says that it used a pretrained teacher."""
    evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path / "results")
    other = tmp_path / "tiny-ipc1" / "random"
    shutil.copytree(tiny_random, other)
    manifest = json.loads((other / "manifest.json").read_bytes())
    (other / "manifest.json").write_text(json.dumps({**manifest, "external_data": "a Kinetics teacher"}))
    with pytest.raises(ValueError, match=r"external False \(now True\)"):
        evaluate([other], students=["convnet3d"], seeds=[0], results=tmp_path / "results")


def test_a_damaged_record_is_kept_aside_and_made_again(tiny_random: Path, tmp_path: Path) -> None:
    (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    top1 = read_record(path)[0].top1
    path.with_suffix(".safetensors").unlink()
    damaged = path.read_bytes()
    assert evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path) == [path]
    assert read_record(path)[0].top1 == top1
    assert [p.read_bytes() for p in path.parent.glob("seed0.broken*.json")] == [damaged]


def test_what_another_process_recorded_meanwhile_stays(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call: dict[str, Any] = {"students": ["convnet3d"], "seeds": [0], "results": tmp_path}
    real = evaluating.evaluate_seed

    def beaten(*args: Any) -> Any:
        monkeypatch.setattr(evaluating, "evaluate_seed", real)
        evaluate([tiny_random], **call)  # the other process, while this one trains
        return real(*args)

    monkeypatch.setattr(evaluating, "evaluate_seed", beaten)
    (path,) = evaluate([tiny_random], **call)
    assert read_record(path)[0].seed == 0
    assert sorted(p.suffix for p in path.parent.glob("seed0*")) in (
        [".json", ".safetensors"],
        [".json", ".lock", ".safetensors"],
    )


def test_an_unwritable_results_folder_is_found_before_training(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "evaluate_seed", lambda *args: pytest.fail("trained first"))
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path / "file" / "results")


def test_a_bad_submission_is_found_before_a_good_one_is_trained(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluating, "evaluate_seed", lambda *args: pytest.fail("trained first"))
    with pytest.raises(FileNotFoundError):
        evaluate([tiny_random, tmp_path / "nothing"], students=["convnet3d"], seeds=[0], results=tmp_path)


def test_unknown_students_are_refused_before_anything_is_trained(tiny_random: Path, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"no student named 'convnet3'; did you mean convnet3d"):
        evaluate([tiny_random], students=["convnet3d", "convnet3"], seeds=[0], results=tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_killed_student_goes_on_and_gives_the_same_record(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(folder: str) -> Path:
        (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path / folder)
        return path

    class Killed(Exception):
        """Stands for kill -9."""

    save = Unfinished.save

    def then_killed(self: Unfinished, *given: Any) -> None:
        save(self, *given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "EVERY_SECONDS", -1.0)
        patch.setattr(Unfinished, "save", then_killed)
        with pytest.raises(Killed):
            run("parts")
    (kept,) = (tmp_path / "parts").rglob("*.unfinished")
    steps: list[int] = []
    gradients = training.step_gradients
    with monkeypatch.context() as patch:
        patch.setattr(training, "step_gradients", lambda *given: (steps.append(1), gradients(*given))[1])
        path = run("parts")
    assert steps == [1] and not kept.exists()  # of 2
    (one, answers), (_, others) = read_record(path), read_record(run("whole"))
    assert one.train_seconds > 0 and np.array_equal(answers.true_probability, others.true_probability)
    kept.write_bytes(b"of a process that was not the first")
    assert run("parts") == path and not kept.exists()


def test_a_forced_rerun_owes_nothing_to_an_unfinished_student(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path)
    other = path.with_suffix(".unfinished")
    other.write_bytes(b"another process trains here")
    opened: list[Path] = []
    load = Unfinished.load
    monkeypatch.setattr(Unfinished, "load", lambda self, *given: (opened.append(self.path), load(self, *given))[1])
    evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path, force=True)
    assert opened == [path.with_suffix(".rerun.unfinished")] and other.exists()


def test_a_signal_while_testing_ends_the_call_after_the_record(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    predicting = evaluating.predict

    def terminated(*given: Any) -> Any:
        if len(sent) == 0:
            sent.append(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
        return predicting(*given)

    sent: list[int] = []
    monkeypatch.setattr(evaluating, "predict", terminated)
    try:
        with pytest.raises(KeyboardInterrupt):
            evaluate([tiny_random], students=["convnet3d"], seeds=[0, 1], results=tmp_path)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert [p.name for p in tmp_path.rglob("*.json")] == ["seed0.json"]


def test_ctrl_c_leaves_no_half_record_and_the_next_call_goes_on(home: Path, tiny_random: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vddbench", "evaluate", str(tiny_random), "--seeds", "40", "--results", str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "VDDBENCH_HOME": str(home)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("seed0.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "run the same command again" in stderr and "Traceback" not in stderr
    left = {p.suffix for p in tmp_path.rglob("*") if p.is_file()}
    assert left - {".lock", ".unfinished"} == {".json", ".safetensors"}  # the student under way goes on from .unfinished
    recorded = list(tmp_path.rglob("seed*.json"))
    for path in recorded:
        read_record(path)
    assert 0 < len(recorded) < 40
    assert len(evaluate([tiny_random], students=["convnet3d"], seeds=range(len(recorded) + 1), results=tmp_path)) > len(
        recorded
    )


def test_a_submission_of_the_same_store_decoded_by_another_version_is_taken(tiny_random: Path, tmp_path: Path) -> None:
    other = tmp_path / "tiny-ipc1" / "random"
    shutil.copytree(tiny_random, other)
    manifest = json.loads((other / "manifest.json").read_bytes())
    (other / "manifest.json").write_text(json.dumps({**manifest, "store_digest": "0" * 64}))
    made = evaluate([other], students=["convnet3d"], seeds=[0], results=tmp_path / "results")
    record, _ = read_record(made[0])
    assert record.store_digest == manifest["store_digest"] and record.store_fingerprint == manifest["store_fingerprint"]
