"""The Slurm for other tests starts, runs jobs, survives lost nodes and a lost controller, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.slurm import Cluster, available, processes

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(available()), reason=available())]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("slurm"), max_array_size=11) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def no_jobs_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empties the shared cluster after each test."""
    yield
    if "cluster" in request.fixturenames:
        cluster = request.getfixturevalue("cluster")
        cluster.sh("scancel -u root")
        cluster.wait_for(lambda: not cluster.sh("squeue -h"), 60, "an empty queue")


def submit(cluster: Cluster, script: str, options: str = "") -> tuple[str, Path]:
    """Submits a job; returns its id and the file with its output."""
    out = cluster.folder / f"{os.urandom(4).hex()}.out"
    return cluster.sh(f"sbatch --parsable --open-mode=append -o {out} {options} --wrap '{script}'"), out


def processes_of(cluster: Cluster, word: str, node: str = "") -> list[int]:
    """Processes with this word in their command line."""
    return [pid for pid, command in processes(cluster.config, node).items() if word in command]


def test_a_job_runs_and_sees_its_gpu(cluster: Cluster) -> None:
    job, out = submit(cluster, "echo on GPU $CUDA_VISIBLE_DEVICES; exit 3", "--gres=gpu:1")
    assert cluster.wait_for_state(job, "FAILED")["ExitCode"] == "3:0"
    assert out.read_text() == "on GPU 0\n"


def test_an_array_runs_on_both_nodes_at_once(cluster: Cluster) -> None:
    job, out = submit(cluster, "echo $SLURMD_NODENAME; sleep 100", "--array=0-1")
    cluster.wait_for(lambda: out.exists() and sorted(out.read_text().split()) == ["n1", "n2"], 30, "two running tasks")
    assert cluster.sh("squeue -h -r -t R -o %i").split() == [f"{job}_0", f"{job}_1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--mem=2001", "Memory specification can not be satisfied"),
        ("--gres=gpu:2", "Requested node configuration is not available"),
        ("--nodes=3", "More processors requested than permitted"),
        ("--array=0-11", "Invalid job array specification"),
        ("--partition=gone", "Invalid partition name specified"),
        ("--time=180", "Requested time limit is invalid"),
    ],
)
def test_jobs_that_can_never_run_are_refused(cluster: Cluster, options: str, message: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        cluster.sh(f"sbatch {options} --wrap true")
    assert message in caught.value.stderr


def test_without_accounting_sacct_fails(cluster: Cluster) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        cluster.sh("sacct")
    assert "accounting storage is disabled" in caught.value.stderr


@pytest.mark.parametrize(("options", "warning"), [("", "TERM"), ("--signal=USR2@60", "USR2")])
def test_preempted_jobs_are_warned_requeued_and_run_again(cluster: Cluster, options: str, warning: str) -> None:
    step = cluster.folder / "step.sh"
    step.write_text('for s in TERM USR2; do trap "echo $s; exit" $s; done; while :; do sleep 0.1; done')
    job, out = submit(cluster, f"echo start; srun bash {step}; sleep 100", f"--array=0-1 {options}")
    cluster.wait_for(lambda: len(processes_of(cluster, f"/bash {step}")) == 2, 30, "the steps")
    with cluster.kicking():
        urgent = cluster.preempt(1)
        cluster.wait_for(lambda: out.read_text().count(warning) == 2, 10, "the warnings")
        assert cluster.job(f"{job}_0")["JobState"] == cluster.job(f"{job}_1")["JobState"] == "RUNNING"  # in their grace time
        cluster.wait_for_state(urgent, "COMPLETED", 30)
        cluster.wait_for(lambda: out.read_text().count("start") == 4, 30, "the second starts")
    assert cluster.job(f"{job}_0")["Restarts"] == cluster.job(f"{job}_1")["Restarts"] == "1"


def test_a_job_of_a_crashed_node_runs_again_elsewhere_and_the_node_comes_back(cluster: Cluster) -> None:
    job, out = submit(cluster, "echo $SLURMD_NODENAME; sleep 100")
    cluster.wait_for(lambda: out.exists() and out.read_text(), 30, "the job to run")
    first = out.read_text().strip()
    assert processes_of(cluster, "sleep 100", first) and processes_of(cluster, "slurmstepd", first)
    cluster.crash_node(first)
    assert not processes(cluster.config, first) and cluster.job(job)["JobState"] == "RUNNING"  # not noticed yet
    with cluster.kicking():
        cluster.wait_for(lambda: "down" in cluster.node_state(first), 60, "the node to be down")
        cluster.wait_for(lambda: len(set(out.read_text().split())) == 2, 30, "the other node to run the job")
    cluster.start_node(first)
    assert cluster.node_state(first) == "idle"


def test_a_restarted_controller_still_knows_its_jobs(cluster: Cluster) -> None:
    job, out = submit(cluster, "sleep 3; echo done")
    cluster.wait_for_state(job, "RUNNING")
    waiting, _ = submit(cluster, "true", "--begin=now+100")
    cluster.stop_controller()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        cluster.sh("squeue")
    assert "Unable to contact slurm controller" in caught.value.stderr
    cluster.wait_for(lambda: out.read_text() == "done\n", 30, "the job to end")
    cluster.start_controller()
    cluster.wait_for_state(job, "COMPLETED", 30)
    assert cluster.job(waiting)["JobState"] == "PENDING"


@pytest.mark.skipif(bool(available(accounting=True)), reason=available(accounting=True))
def test_with_accounting_sacct_knows_the_job(tmp_path: Path) -> None:
    with Cluster(tmp_path / "c", nodes=1, accounting=True) as cluster:
        job, _ = submit(cluster, "exit 3")
        cluster.wait_for_state(job, "FAILED")
        cluster.wait_for(lambda: f"{job}|FAILED|3:0" in cluster.sh("sacct -nXP -o JobID,State,ExitCode"), 30, "sacct")


def test_no_process_is_left_when_the_start_fails(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", nodes=1, conf_extra="SelectType=select/gone")
    with pytest.raises(TimeoutError, match="ended: slurmctld"), cluster:
        pytest.fail("it started")
    assert not processes(cluster.config)


def test_no_process_is_left_when_the_process_is_killed(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time\nfrom tests.tools.slurm import Cluster\n"
        "with Cluster(pathlib.Path(sys.argv[1]), nodes=1) as cluster:\n"
        "    cluster.sh('sbatch -o /dev/null --wrap \"env -i sleep 100\"')\n    time.sleep(100)"
    )
    config = tmp_path / "c" / "slurm.conf"
    process = subprocess.Popen([sys.executable, "-c", script, str(config.parent)], cwd=Path(__file__).parents[2])
    probe = Cluster(tmp_path / "c", nodes=1)  # not started; for its wait_for and paths
    probe.wait_for(lambda: any("sleep 100" in command for command in processes(config).values()), 30, "the job")
    process.send_signal(signal.SIGKILL)
    process.wait()
    probe.wait_for(lambda: not processes(config), 10, "the guard")
