"""Runs on a real Slurm of two nodes survive what happens to jobs: nothing is lost, nothing is made twice.

`pytest -m slurm -n 0 tests/cluster/test_slurm.py`; see tests/tools/slurm.py for what has to be installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tools.slurm import Cluster, available
from vddbench.cluster import events, jobs, slurm
from vddbench.cluster.collect import collect
from vddbench.cluster.doctor import doctor
from vddbench.cluster.jobs import Resources
from vddbench.cluster.plan import Run, evaluations, write_plan
from vddbench.cluster.retry import cancel, retry
from vddbench.cluster.status import status
from vddbench.cluster.submit import submit
from vddbench.commands.batch import batch
from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.records.files import read_record
from vddbench.spec import Task

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(available()), reason=available())]
ASKED = Resources(gpus=0, cpus=1, mem=0.5, time=60)
LONG_STEPS = 45  # of a student: some 10 s on an idle core


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm"), max_array_size=11) as cluster, pytest.MonkeyPatch.context() as patch:
        for name in ("SLURM_CONF", "PATH"):
            patch.setenv(name, cluster.env[name])
        yield cluster


@pytest.fixture(autouse=True)
def no_jobs_left(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.sh("scancel -u root")
    cluster.wait_for(lambda: not cluster.sh("squeue -h"), 60, "an empty queue")


@pytest.fixture(scope="module")
def long_random(tiny: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A submission whose students take long enough to be interrupted."""
    steps = dict.fromkeys(("1", "5", "10", "full"), LONG_STEPS)
    spec = movingshapes.SPEC.model_copy(update={"num_videos": None, "student_steps": steps})
    videos = [video for video in movingshapes.videos(Path()) if int(video.id[-3:]) < 4]
    build_store("long", spec, videos, render=movingshapes.render)
    return distill("random", Task(dataset="long", ipc=1), 0, tmp_path_factory.mktemp("submissions"))


@pytest.fixture(scope="module")
def undisturbed(long_random: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of seed 0, without a cluster."""
    return evaluate([long_random], students=["convnet3d"], seeds=[0], results=tmp_path_factory.mktemp("results"))[0]


def planned(tmp_path: Path, submission: Path, home: Path, seeds: int = 1) -> Run:
    return write_plan(tmp_path / "run", evaluations([submission], ["convnet3d"], range(seeds)), home)[0]


def until(cluster: Cluster, run: Run, seconds: float = 240, **counts: int) -> None:
    """Until so many cells are in these states; for cells that are done until Slurm has done with them, too."""
    cluster.wait_for(lambda: counts.items() <= status(run).counts.items(), seconds, f"{counts}")
    if "done" in counts:
        cluster.wait_for(lambda: all(task.is_over for task in slurm.queue(jobs.read_jobs(run)).values()), 60, "the end")


def training(cluster: Cluster, run: Run) -> None:
    """Until cell 0 trains: its process has opened its log, and its student is a few steps old."""
    until(cluster, run, running=1)
    cluster.wait_for(lambda: cpu_seconds(cluster, run) > 8, 120, "a student in training")


def cpu_seconds(cluster: Cluster, run: Run) -> float:
    """Of the process of a cell."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(run.path).encode() in (line := (entry / "cmdline").read_bytes()) and b"batch.child" in line:
                user, system = (entry / "stat").read_text().rpartition(")")[2].split()[11:13]
                return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return 0.0


def the_same(run: Run, undisturbed: Path) -> bool:
    """One record, with the predictions of a student that nothing happened to."""
    _, found = read_record(run.made(run.cells[0]))
    _, expected = read_record(undisturbed)
    return bool((found.top5 == expected.top5).all() and (found.centre_top1 == expected.centre_top1).all())


def attempts(run: Run) -> list[str]:
    return [str(event.outcome) for _, _, event in events.read_all(run) if event.outcome]


def test_a_run_goes_from_plan_to_collected_records(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=4)
    (job,) = submit(run, "slurm", ASKED, 2)
    assert submit(run, "slurm", ASKED, 2) == [] and len(job.tasks) == 2
    until(cluster, run, done=4)
    assert attempts(run) == ["done"] * 4
    cluster.wait_for(lambda: {cluster.job(f"{job.job_id}_{i}")["JobState"] for i in (0, 1)} == {"COMPLETED"}, 30, "the end")
    shown = CliRunner().invoke(batch, ["status", str(run.path), "--format", "json"])
    assert json.loads(shown.stdout)["counts"]["done"] == 4
    assert len(collect(run, tmp_path / "results", tmp_path).copied) == 4
    logged = CliRunner().invoke(batch, ["logs", str(run.path), "3"])
    assert "top-1" in logged.stdout


def preempted(cluster: Cluster, job_id: str) -> None:
    cluster.preempt(3)


def requeued(cluster: Cluster, job_id: str) -> None:
    cluster.sh(f"scontrol requeue {job_id}")


def crashed(cluster: Cluster, job_id: str) -> None:
    node = cluster.sh(f"squeue -h -o %N -j {job_id}")
    cluster.crash_node(node)
    cluster.start_node(node)


@pytest.mark.parametrize("fault", [preempted, requeued, crashed])
def test_what_slurm_takes_back_goes_on_by_itself(
    fault: Callable[[Cluster, str], None], cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    (job,) = submit(run, "slurm", ASKED, None)
    training(cluster, run)
    fault(cluster, job.task_id(0))
    with cluster.kicking():
        until(cluster, run, done=1)
    assert the_same(run, undisturbed)
    told = attempts(run)
    assert told.count("done") == 1 and set(told) <= {"done", "interrupted"}
    log = run.log(run.cells[0]).read_text()
    assert ("goes on after step" in log) == (fault is preempted) or fault is requeued  # a node that dies saves nothing


def test_what_is_cancelled_is_failed_until_it_is_retried(
    cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    submit(run, "slurm", ASKED, None)
    training(cluster, run)
    cancel(run)
    until(cluster, run, failed=1)
    assert len(retry(run, "slurm", {}, None, None, False)) == 1
    assert retry(run, "slurm", {}, None, None, False) == []  # it has a job again
    until(cluster, run, done=1)
    assert the_same(run, undisturbed) and attempts(run).count("done") == 1
    assert "goes on after step" in run.log(run.cells[0]).read_text()  # Slurm's SIGTERM let the student be saved


@pytest.mark.slow  # minutes: Slurm looks at time limits every half a minute
def test_near_its_time_limit_a_student_is_saved_and_goes_on(
    cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    (job,) = submit(run, "slurm", ASKED, None)
    training(cluster, run)
    cluster.end_in(job.task_id(0), 80)  # less than the 90 s of the warning
    with cluster.kicking():
        until(cluster, run, done=1)
    assert the_same(run, undisturbed) and cluster.job(job.task_id(0))["Restarts"] in {"0", "1"}


def test_a_gpu_that_pytorch_cannot_use_fails_the_cell_and_not_the_record(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    submit(run, "slurm", ASKED.model_copy(update={"gpus": 1}), None)
    until(cluster, run, failed=1)
    assert status(run).failed == {"node": 1} and "sees none (CUDA_VISIBLE_DEVICES='0')" in status(run).failures[0]["tail"]


def test_a_lost_answer_of_sbatch_costs_no_cell(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job is there, but its tasks' files were not named: it is cancelled, and another one runs them."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = cluster.sh("command -v sbatch")
    sbatch.write_text(f"#!/bin/sh\n{real} \"$@\"\nrm {sbatch}\necho 'sbatch: error: Socket timed out' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    run = planned(tmp_path, tiny_random, home, seeds=2)
    assert len(submit(run, "slurm", ASKED, 1)) == 1
    until(cluster, run, done=2)
    assert attempts(run) == ["done", "done"]


def test_the_environment_of_a_job_around_us_does_not_get_into_ours(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_MEM_PER_CPU": "100", "SLURM_JOB_ID": "9"}
    for name, value in {**around, "SBATCH_JOB_NAME": "mine", "SQUEUE_STATES": "RUNNING"}.items():
        monkeypatch.setenv(name, value)
    run = planned(tmp_path, tiny_random, home)
    submit(run, "slurm", ASKED, None)
    until(cluster, run, done=1)
    assert os.environ["SBATCH_JOB_NAME"] == "mine"


def test_what_a_task_printed_before_its_cell_is_shown(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    submit(run, "slurm", ASKED.model_copy(update={"setup": ("echo no such module >&2; exit 1",)}), None)
    cluster.wait_for(lambda: any(at.state == "failed" or "seen" in at.why for at in status(run).cells), 60, "the end")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
        assert "no such module" in status(run).failures[0]["tail"]


def test_a_controller_that_is_away_is_waited_for(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path, tiny_random, home)
    cluster.stop_controller()
    started = threading.Timer(30, cluster.start_controller)
    started.start()
    monkeypatch.setattr(slurm, "ASK_SECONDS", 5.0)
    (job,) = submit(run, "slurm", ASKED, None)
    started.join()
    until(cluster, run, done=1)
    cluster.stop_controller()
    assert status(run).counts["done"] == 1 and "does not answer" in status(run).scheduler
    with pytest.raises(ValueError, match=r"does not answer|must not be"):
        retry(run, "slurm", {}, None, None, False)
    cluster.start_controller()
    assert len(jobs.read_jobs(run)) == 1 and job.job_id is not None


def test_a_submission_cut_short_is_found_by_its_name(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=2)
    (job,) = submit(run, "slurm", ASKED, 1)
    jobs.change_job(run, job.model_copy(update={"job_id": None}))  # killed between sbatch and writing its answer down
    never = jobs.next_job(run, "slurm", [[0]], ASKED, time.time())
    jobs.add_job(run, never)  # killed before sbatch
    assert submit(run, "slurm", ASKED, 1) == []
    found = jobs.read_jobs(run)
    assert found[0].job_id == job.job_id and "interrupted" in found[1].refused
    until(cluster, run, done=2)


def test_more_than_the_cluster_has_is_refused_with_its_reason(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    with pytest.raises(ValueError, match=r"Slurm refused .*(Memory|node configuration)"):
        submit(run, "slurm", ASKED.model_copy(update={"mem": 500}), None)
    assert status(run).counts["planned"] == 1
    assert "configuration" in slurm.asked_too_much(ASKED.model_copy(update={"gpus": 9}))
    assert len(submit(run, "slurm", ASKED, None)) == 1  # with what there is


def test_arrays_are_cut_to_what_the_cluster_takes_and_cancelled_together(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=25)
    cluster.sh("scontrol update PartitionName=main State=DOWN")
    try:
        found = submit(run, "slurm", ASKED.model_copy(update={"max_parallel": 4}), 1)
        assert [len(job.tasks) for job in found] == [10, 10, 5]
        assert [job.resources.max_parallel for job in found] == [2, 1, 1]
        until(cluster, run, 20, pending=25)
        assert status(run).never  # the partition is down: said, not waited for
        cancel(run)
        until(cluster, run, 60, failed=25)
    finally:
        cluster.sh("scontrol update PartitionName=main State=UP")


def test_a_full_disk_costs_a_try_and_nothing_else(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    results = run.path / "results"
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(results)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        submit(run, "slurm", ASKED, None)
        until(cluster, run, failed=1)
        assert status(run).failed == {"disk": 1} and "No space left" in status(run).failures[0]["tail"]
        subprocess.run(["mount", "-o", "remount,size=8m", str(results)], check=True)
        retry(run, "slurm", {}, None, None, False)
        until(cluster, run, done=1)
    finally:
        subprocess.run(["umount", "-l", str(results)], check=True)


def test_half_a_record_is_no_record(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    made = run.made(run.cells[0])
    made.parent.mkdir(parents=True)
    made.write_text('{"format": 1, "proto')
    assert len(submit(run, "slurm", ASKED, None)) == 1
    until(cluster, run, done=1)
    read_record(made)
    assert made.with_name("seed0.broken1.json").exists()


def test_a_node_that_sees_the_run_late_waits_for_it(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    plan, hidden = run.path / "plan.json", run.path / "hidden.json"
    (job,) = submit(run, "slurm", ASKED, None)
    plan.rename(hidden)
    cluster.wait_for_state(job.task_id(0), "RUNNING")
    time.sleep(5)
    hidden.rename(plan)
    until(cluster, run, done=1)


def test_doctor_looks_around_on_a_node(cluster: Cluster, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with_gpu = ASKED.model_copy(update={"gpus": 1})
    assert not doctor(with_gpu, tmp_path, home)  # a pretended GPU: Slurm has it, PyTorch doesn't
    shown = capfd.readouterr().err
    assert "sees no GPU (CUDA_VISIBLE_DEVICES='0')" in shown.replace("\n", " ") and "main" in shown
    assert doctor(ASKED, tmp_path, home)
    assert "folders are shared" in capfd.readouterr().err
    assert not doctor(ASKED.model_copy(update={"partition": "gone"}), tmp_path, home)
    assert "nvalid partition" in capfd.readouterr().err
