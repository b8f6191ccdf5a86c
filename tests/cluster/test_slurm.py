"""Runs on a real Slurm of two nodes survive faults: no cell is lost, none is made twice.

`pytest -m slurm -n 0 tests/cluster/test_slurm.py`; tests/tools/slurm.py says what has to be installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.builders.cells import give
from tests.tools.slurm import Cluster, available
from vddbench.cluster import slurm
from vddbench.cluster.cells import evaluations
from vddbench.cluster.collect import collect
from vddbench.cluster.doctor import doctor, refusal
from vddbench.cluster.grid import Grid
from vddbench.cluster.grid import plan as plan_grid
from vddbench.cluster.jobs import Job, read_attempts, read_jobs
from vddbench.cluster.plan import Run, write_plan
from vddbench.cluster.resources import Resources
from vddbench.cluster.status import status
from vddbench.cluster.submit import Where, cancel, retry, submit
from vddbench.commands.batch import batch
from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.evaluation.evaluate import evaluate
from vddbench.protocol import PROTOCOL, Sdd
from vddbench.records.files import read_record
from vddbench.spec import Task

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(available()), reason=available())]
ASKED = Resources(gpus=0, cpus=1, mem=0.5, time=60)
ONE, SLURM = Where("slurm", 1), Where("slurm")
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
    """A submission whose students train long enough to be interrupted."""
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
    return write_plan(tmp_path / "run", evaluations([submission], ["convnet3d"], range(seeds)), home).run


def until(cluster: Cluster, run: Run, seconds: float = 600, **counts: int) -> None:
    """Waits until so many cells are in these states, and for done ones until Slurm's tasks are over, too."""
    cluster.wait_for(lambda: counts.items() <= status(run).counts.items(), seconds, f"{counts}")
    if "done" in counts:
        cluster.wait_for(lambda: all(task.is_over for task in slurm.queue(read_jobs(run)).values()), 60, "the end")


def training(cluster: Cluster, run: Run) -> None:
    """Waits until the student of cell 0 has trained a few steps."""
    until(cluster, run, running=1)
    cluster.wait_for(lambda: cpu_seconds(cluster, run) > 8, 300, "a student in training")


def cpu_seconds(cluster: Cluster, run: Run) -> float:
    """CPU time of the process of a cell."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(run.path).encode() in (line := (entry / "cmdline").read_bytes()) and b"cluster.child" in line:
                user, system = (entry / "stat").read_text().rpartition(")")[2].split()[11:13]
                return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return 0.0


def is_same(run: Run, undisturbed: Path) -> bool:
    """Whether cell 0 has the predictions of a student that met no fault."""
    _, predictions = read_record(run.made(run.cells[0]))
    _, expected = read_record(undisturbed)
    return bool((predictions.top5 == expected.top5).all() and (predictions.centre_top1 == expected.centre_top1).all())


def outcomes(run: Run) -> Counter[str]:
    """How often attempts at cells ended so."""
    counts = Counter[str]()
    for job in read_jobs(run):
        for attempts in read_attempts(run, job.number).values():
            counts.update(attempts.ended)
    return counts


def job_id(run: Run, job: Job, task: int = 0) -> str:
    """Slurm's id of a task."""
    return slurm.queue([job])[job.name, task].job_id


def test_a_run_goes_from_plan_to_collected_records(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=4)
    (job,) = submit(run, ASKED, Where("slurm", 2))
    assert submit(run, ASKED, ONE) == [] and len(job.tasks) == 2
    until(cluster, run, done=4)
    assert outcomes(run) == {"done": 4}
    assert [slurm.queue([job])[job.name, task].state for task in (0, 1)] == ["COMPLETED", "COMPLETED"]
    shown = CliRunner().invoke(batch, ["status", str(run.path), "--json"])
    assert json.loads(shown.stdout)["counts"]["done"] == 4
    assert len(collect(run, tmp_path / "results", tmp_path).copied) == 4
    logged = CliRunner().invoke(batch, ["logs", str(run.path), "3"])
    assert "top-1" in logged.stdout


def test_a_cancelled_grid_distills_and_evaluates_everything_once(
    cluster: Cluster, tiny: Store, home: Path, tmp_path: Path
) -> None:
    """Two sets on two nodes at once, each followed by evaluations under both protocols in the same task."""
    grid = Grid(
        datasets=("tiny",),
        ipcs=(1,),
        methods=("random", "dm"),
        preset="smoke",
        distill_seeds=1,
        seeds=1,
        protocols=(PROTOCOL, Sdd(epochs=1)),
    )
    run = plan_grid(grid, tmp_path / "results", tmp_path / "submissions", tmp_path / "run").run
    (job,) = submit(run, ASKED, SLURM)
    assert job.tasks == ((0, 1, 2), (3, 4, 5))
    cluster.wait_for(lambda: status(run).counts["done"] >= 1, 600, "a set")
    cancel(run)
    until(cluster, run, 120, running=0, pending=0)
    assert len(retry(run, SLURM)) == 1
    until(cluster, run, 1200, done=6)
    assert outcomes(run).keys() <= {"done", "interrupted"}
    assert outcomes(run)["done"] in {5, 6}  # 5: the task of the first set was cancelled before it wrote down its outcome
    assert len(collect(run, tmp_path / "results", tmp_path / "submissions").copied) == 6
    assert [read_record(run.made(run.cells[i]))[0].protocol for i in (1, 2, 4, 5)] == ["v3", "sdd"] * 2


def preempted(cluster: Cluster, job_id: str) -> None:
    cluster.preempt(3)


def requeued(cluster: Cluster, job_id: str) -> None:
    cluster.sh(f"scontrol requeue {job_id}")


def crashed(cluster: Cluster, job_id: str) -> None:
    node = cluster.sh(f"squeue -h -o %N -j {job_id}")
    cluster.crash_node(node)
    cluster.start_node(node)


@pytest.mark.parametrize("fault", [preempted, pytest.param(requeued, marks=pytest.mark.slow), crashed])
def test_jobs_that_slurm_takes_back_resume_by_themselves(
    fault: Callable[[Cluster, str], None], cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    (job,) = submit(run, ASKED, SLURM)
    training(cluster, run)
    fault(cluster, job_id(run, job))
    with cluster.kicking():
        until(cluster, run, done=1)
    assert is_same(run, undisturbed)
    assert outcomes(run)["done"] == 1 and outcomes(run).keys() <= {"done", "interrupted"}
    log = run.log(run.cells[0]).read_text()
    assert ("resumes after step" in log) == (fault is preempted) or fault is requeued  # a node that dies saves nothing


def test_cancelled_cells_are_failed_until_they_are_retried(
    cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    submit(run, ASKED, SLURM)
    training(cluster, run)
    cancel(run)
    until(cluster, run, failed=1)
    assert len(retry(run, SLURM)) == 1
    assert retry(run, SLURM) == []  # it has a job again
    until(cluster, run, done=1)
    assert is_same(run, undisturbed) and outcomes(run)["done"] == 1
    assert "resumes after step" in run.log(run.cells[0]).read_text()  # Slurm's SIGTERM let the student be saved


@pytest.mark.slow  # minutes: Slurm looks at time limits every half a minute
def test_near_its_time_limit_a_student_is_saved_and_resumes(
    cluster: Cluster, long_random: Path, undisturbed: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, long_random, home)
    (job,) = submit(run, ASKED, SLURM)
    training(cluster, run)
    cluster.end_in(job_id(run, job), 80)  # less than the 90 s of the warning
    with cluster.kicking():
        until(cluster, run, done=1)
    assert is_same(run, undisturbed) and cluster.job(job_id(run, job))["Restarts"] in {"0", "1"}


def test_a_gpu_that_pytorch_cannot_use_fails_the_cell(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    submit(run, ASKED.model_copy(update={"gpus": 1}), SLURM)
    until(cluster, run, failed=1)
    assert status(run).failed == {"node": 1} and "sees none (CUDA_VISIBLE_DEVICES='0')" in status(run).failures[0]["tail"]


def test_a_lost_answer_of_sbatch_costs_no_cell(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm has the job, but submitit has not named its tasks' files: it is cancelled and submitted again."""
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = cluster.sh("command -v sbatch")
    sbatch.write_text(f"#!/bin/sh\n{real} \"$@\"\nrm {sbatch}\necho 'sbatch: error: Socket timed out' >&2\nexit 1\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    run = planned(tmp_path, tiny_random, home, seeds=2)
    assert len(submit(run, ASKED, ONE)) == 1
    until(cluster, run, done=2)
    assert outcomes(run) == {"done": 2}


def test_the_environment_of_a_surrounding_job_does_not_change_ours(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3", "SLURM_MEM_PER_CPU": "100", "SLURM_JOB_ID": "9"}
    for name, value in {**around, "SBATCH_JOB_NAME": "mine", "SQUEUE_STATES": "RUNNING"}.items():
        monkeypatch.setenv(name, value)
    run = planned(tmp_path, tiny_random, home)
    submit(run, ASKED, SLURM)
    until(cluster, run, done=1)
    assert os.environ["SBATCH_JOB_NAME"] == "mine"


def test_what_a_task_printed_before_its_cell_is_shown(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    submit(run, ASKED.model_copy(update={"setup": ("echo no such module >&2; exit 1",)}), SLURM)
    cluster.wait_for(lambda: any(cell.state == "failed" or "seen" in cell.why for cell in status(run).cells), 60, "the end")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
        assert "no such module" in status(run).failures[0]["tail"]


def test_a_stopped_controller_is_waited_for(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = planned(tmp_path, tiny_random, home)
    cluster.stop_controller()
    started = threading.Timer(30, cluster.start_controller)
    started.start()
    monkeypatch.setattr(slurm, "ASK_SECONDS", 5.0)
    submit(run, ASKED, SLURM)
    started.join()
    until(cluster, run, done=1)
    cluster.stop_controller()
    assert status(run).counts["done"] == 1 and "does not answer" in status(run).scheduler
    with pytest.raises(ValueError, match=r"does not answer|must not be"):
        retry(run, SLURM)
    cluster.start_controller()
    assert len(read_jobs(run)) == 1


def test_cells_of_a_submission_that_was_killed_are_lost_and_retried(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=2)
    give(run)  # killed before sbatch: Slurm knows no job of this name
    assert submit(run, ASKED, ONE) == [] and status(run).failed == {"lost": 2}
    assert len(retry(run, ONE, ASKED.model_dump(exclude_none=True))) == 1
    until(cluster, run, done=2)


def test_more_than_the_cluster_has_is_refused_with_its_reason(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    with pytest.raises(ValueError, match=r"Slurm refused .*(Memory|node configuration)"):
        submit(run, ASKED.model_copy(update={"mem": 500}), SLURM)
    assert status(run).counts["planned"] == 1
    assert "configuration" in refusal(ASKED.model_copy(update={"gpus": 9}))
    assert len(submit(run, ASKED, SLURM)) == 1


def test_a_site_gets_memory_by_core_and_further_options(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    asked = Resources(gpus=0, cpus=1, mem_per_cpu=0.5, exclude="n1", sbatch=("--nice=7", "--comment=by hand"))
    (job,) = submit(run, asked, SLURM)
    shown = cluster.job(job_id(run, job))
    assert shown["MinMemoryCPU"] == "512M" and shown["ExcNodeList"] == "n1" and shown["Nice"] == "7"
    until(cluster, run, done=1)


def test_a_job_runs_nothing_once_others_can_write_to_its_run(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    cluster.sh("scontrol update PartitionName=main State=DOWN")
    try:
        submit(run, ASKED, SLURM)
        run.path.chmod(0o777)
    finally:
        cluster.sh("scontrol update PartitionName=main State=UP")
    cluster.wait_for(lambda: any(cell.state == "failed" or "seen" in cell.why for cell in status(run).cells), 60, "the end")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vddbench.cluster.status.LATE_SECONDS", -1.0)
        assert "other users can write to the folder of this run" in status(run).failures[0]["tail"]
        with pytest.raises(ValueError, match="chmod go-w"):
            retry(run, SLURM)
        run.path.chmod(0o755)
        assert len(retry(run, SLURM)) == 1
    until(cluster, run, done=1)


def test_arrays_are_cut_to_the_size_that_slurm_allows_and_cancelled_together(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home, seeds=25)
    cluster.sh("scontrol update PartitionName=main State=DOWN")
    try:
        jobs = submit(run, ASKED.model_copy(update={"max_parallel": 4}), ONE)
        assert [len(job.tasks) for job in jobs] == [10, 10, 5]
        assert [job.resources.max_parallel for job in jobs] == [2, 1, 1]
        until(cluster, run, 20, pending=25)
        assert status(run).never  # the partition is down
        cancel(run)
        until(cluster, run, 60, failed=25)
    finally:
        cluster.sh("scontrol update PartitionName=main State=UP")


def test_a_full_disk_fails_the_cell_until_there_is_room(
    cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path
) -> None:
    run = planned(tmp_path, tiny_random, home)
    results = run.path / "results"
    results.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(results)], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount")
    try:
        submit(run, ASKED, SLURM)
        until(cluster, run, failed=1)
        assert status(run).failed == {"disk": 1} and "No space left" in status(run).failures[0]["tail"]
        subprocess.run(["mount", "-o", "remount,size=8m", str(results)], check=True)
        retry(run, SLURM)
        until(cluster, run, done=1)
    finally:
        subprocess.run(["umount", "-l", str(results)], check=True)


def test_half_a_record_is_set_aside_and_made_again(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    made = run.made(run.cells[0])
    made.parent.mkdir(parents=True)
    made.write_text('{"format": 1, "proto')
    assert len(submit(run, ASKED, SLURM)) == 1
    until(cluster, run, done=1)
    read_record(made)
    assert made.with_name("seed0.broken1.json").exists()


def test_a_node_that_sees_the_run_late_waits_for_it(cluster: Cluster, tiny_random: Path, home: Path, tmp_path: Path) -> None:
    run = planned(tmp_path, tiny_random, home)
    plan, hidden = run.path / "plan.json", run.path / "hidden.json"
    (job,) = submit(run, ASKED, SLURM)
    plan.rename(hidden)
    cluster.wait_for_state(job_id(run, job), "RUNNING")
    time.sleep(5)
    hidden.rename(plan)
    until(cluster, run, done=1)


def test_doctor_reports_from_a_node(cluster: Cluster, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with_gpu = ASKED.model_copy(update={"gpus": 1})
    assert not doctor(with_gpu, tmp_path, home)  # a GPU that Slurm has and PyTorch does not
    shown = capfd.readouterr().err
    assert "sees no GPU (CUDA_VISIBLE_DEVICES='0')" in shown.replace("\n", " ") and "main" in shown
    assert doctor(ASKED, tmp_path, home)
    assert "folders are shared" in capfd.readouterr().err
    assert not doctor(ASKED.model_copy(update={"partition": "gone"}), tmp_path, home)
    assert "nvalid partition" in capfd.readouterr().err
