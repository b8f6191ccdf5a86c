"""A cell's process ends in many ways; each is told apart, and answered.

Real cells on a tiny store; stand-ins for ways to end that can't be had otherwise, such as memory that runs out.
"""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.builders.cells import StandIn
from vddbench.cluster import child, events, jobs
from vddbench.cluster.child import BAD, DISK, INTERRUPTED, NODE, OUT_OF_MEMORY, meaning
from vddbench.cluster.events import Event
from vddbench.cluster.jobs import Job, Resources
from vddbench.cluster.plan import Run, evaluations, write_plan
from vddbench.cluster.worker import GIVE_UP, Stop, Worker, command
from vddbench.data.store import Store
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record


def planned(path: Path, submission: Path, home: Path, seeds: int = 2) -> tuple[Run, Job]:
    run, _ = write_plan(path, evaluations([submission], ["convnet3d"], range(seeds)), home)
    job = jobs.next_job(run, "local", [list(range(seeds))], Resources(), time.time())
    jobs.add_job(run, job)
    return run, job


def told(run: Run, job: Job) -> list[Event]:
    return list(events.read(events.file_of(run, job.number, 0)))


def outcomes(run: Run, job: Job) -> list[str]:
    return [str(event.outcome) for event in told(run, job) if event.outcome]


def test_a_cell_gives_the_record_that_evaluate_gives(tiny: Store, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run, job = planned(tmp_path / "run", tiny_random, home, seeds=1)
    assert Worker(run, job, 0, Stop(), {}).work() == ["done"]
    bare = evaluate([tiny_random], students=["convnet3d"], seeds=[0], results=tmp_path / "bare")
    record, predictions = read_record(run.made(run.cells[0]))
    expected, same = read_record(bare[0])
    assert record.top1 == expected.top1 and (predictions.top5 == same.top5).all()
    assert record.environment == expected.environment
    assert "top-1" in run.log(run.cells[0]).read_text()
    again = Worker(run, job, 0, Stop(), {}).work()  # Slurm may run a task once more
    assert again == ["done"] and outcomes(run, job) == ["done"]


@pytest.mark.parametrize(
    ("ending", "outcome", "tries"),
    [
        (f"sys.exit({OUT_OF_MEMORY})", "oom", 3),
        ("os.kill(os.getpid(), 9)", "oom", 3),
        ("os.kill(os.getpid(), 11)", "crash", 2),
        (f"print('field x is missing'); sys.exit({BAD})", "bad", 1),
        ("raise KeyError('ours')", "bug", 1),
        (f"sys.exit({DISK})", "disk", 1),
        (f"sys.exit({NODE})", "node", 1),
        ("sys.exit(0)", "bug", 1),  # says it is done and made nothing
    ],
)
def test_how_a_process_ends_says_what_to_do(
    ending: str, outcome: str, tries: int, tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = planned(tmp_path / "run", tiny_random, tmp_path)
    body = f"""
        if cell == 1:
            made.write_text("x")
            sys.exit(0)
        {ending}
    """
    StandIn(monkeypatch, body)
    assert Worker(run, job, 0, Stop(), {}).work() == [outcome, "done"]  # a cell that fails does not stop the next one
    assert outcomes(run, job) == [outcome] * tries + ["done"]
    assert Worker(run, job, 0, Stop(), {}).work() == [outcome, "done"]  # Slurm runs the task once more: no try more
    assert outcomes(run, job) == [outcome] * tries + ["done"]
    last = next(event for event in told(run, job) if event.outcome == outcome)
    assert ("field x is missing" in last.tail) == (outcome == "bad")


def test_a_cell_that_was_retried_meanwhile_is_left_to_its_new_job(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = planned(tmp_path / "run", tiny_random, tmp_path)
    jobs.add_job(run, jobs.next_job(run, "local", [[0]], Resources(), 0.0))
    StandIn(monkeypatch, "made.write_text('x')")
    assert Worker(run, job, 0, Stop(), {}).work() == ["done", "done"]
    assert [event.cell for event in told(run, job)] == [1, 1]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), OUT_OF_MEMORY),
        (OSError(errno.ENOMEM, "x"), OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), OUT_OF_MEMORY),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), NODE),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), NODE),
        (RuntimeError("shapes do not fit"), None),
        (OSError(errno.ENOSPC, "x"), DISK),
        (FileNotFoundError("not mounted"), DISK),
        (PermissionError(errno.EACCES, "x"), BAD),
        (ValueError("field x"), BAD),
        (LookupError("no student"), BAD),
    ],
)
def test_what_a_cell_raises_is_told_apart(error: Exception, code: int | None) -> None:
    assert meaning(error) == code


def test_a_gpu_that_was_asked_for_and_is_not_there_is_no_reason_to_train_on_the_cpu(
    tiny: Store, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run, job = planned(tmp_path / "run", tiny_random, home, seeds=1)
    assert Worker(run, job, 0, Stop(), {"CUDA_VISIBLE_DEVICES": ""}, needs_gpu=True).work() == ["node"]
    assert "sees none" in told(run, job)[-1].tail


def test_memory_that_runs_out_halves_the_micro_batch(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = planned(tmp_path / "run", tiny_random, tmp_path, seeds=1)
    StandIn(monkeypatch, f"if halvings < 2:\n    sys.exit({OUT_OF_MEMORY})\nmade.write_text('x')")
    assert Worker(run, job, 0, Stop(), {}).work() == ["done"]
    assert outcomes(run, job) == ["oom", "oom", "done"]


def test_a_task_that_is_told_to_stop_leaves_the_rest_and_gives_up_after_many_starts(
    tiny_random: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, job = planned(tmp_path / "run", tiny_random, tmp_path)
    StandIn(monkeypatch, f"sys.stdin.read()\nsys.exit({INTERRUPTED})")  # waits for the end of its standard input
    for _ in range(2):
        stop = Stop()
        threading.Timer(0.3, lambda stop=stop: setattr(stop, "asked", True)).start()
        assert Worker(run, job, 0, stop, {}).work() == ["interrupted"]
    file = events.file_of(run, job.number, 0)
    for attempt in range(GIVE_UP):  # nodes died: started, never ended
        events.append(file, cell=0, attempt=attempt)
    StandIn(monkeypatch, "made.write_text('x')")
    assert Worker(run, job, 0, Stop(), {}).work() == ["gave_up", "done"]


def test_a_cells_process_ends_when_its_parent_is_killed(tiny: Store, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run, _ = planned(tmp_path / "run", tiny_random, home, seeds=1)
    body = f"""
import subprocess, sys, time
child = subprocess.Popen({command(run, run.cells[0], 0, False)!r}, stdin=subprocess.PIPE)
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    orphan = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 60
    while _runs(orphan):
        assert time.monotonic() < until, "an orphan"
        time.sleep(0.1)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_submission_that_changed_since_it_was_planned_is_refused_before_it_is_trained_on(
    tiny: Store, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run, _ = planned(tmp_path / "run", tiny_random, home, seeds=1)
    lines = (run.path / "cells.jsonl").read_text().replace("random@", "random@0000000")
    (run.path / "cells.jsonl").write_text(lines)
    with pytest.raises(ValueError, match="changed since it was planned"):
        child.run_cell(Run.open(run.path), 0, 0)


def test_events_survive_a_line_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "1-0.jsonl"
    events.append(file, cell=0, attempt=1)
    with file.open("ab") as out:
        out.write(b'{"time": 1, "cel')
    events.append(file, cell=0, attempt=1, outcome="done", seconds=2.0)
    assert [event.outcome for event in events.read(file)] == [None, "done"]
