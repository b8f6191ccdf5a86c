"""A run on a Slurm of two nodes with random faults: `python -m tests.tools.soak [MINUTES] [CELLS]`, as root.

Every few seconds something is preempted, requeued, cancelled, killed or crashed. Failed cells are retried, as their owner would
do. At the end every cell needs one valid record that was made once. Prints the faults and exits with 1 if a cell was lost or
made twice.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.tools.slurm import Cluster, available, processes
from vddbench.cluster import slurm
from vddbench.cluster.cells import evaluations
from vddbench.cluster.collect import collect
from vddbench.cluster.jobs import read_jobs
from vddbench.cluster.plan import Run, write_plan
from vddbench.cluster.resources import Resources
from vddbench.cluster.status import status
from vddbench.cluster.submit import Where, retry, submit
from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.distillation.run import distill
from vddbench.spec import Task
from vddbench.system.progress import say

ASKED = Resources(gpus=0, cpus=1, mem=0.5, time=60)
PAUSE_SECONDS = (8.0, 25.0)  # between faults
STEPS = 20  # of a student
SLURM = Where("slurm", bundle=3)
DEADLINE_SECONDS = 3600.0  # for the cells that are left after the last fault


def submissions(folder: Path) -> list[Path]:
    steps = dict.fromkeys(("1", "5", "10", "full"), STEPS)
    spec = movingshapes.SPEC.model_copy(update={"num_videos": None, "student_steps": steps})
    videos = [video for video in movingshapes.videos(Path()) if int(video.id[-3:]) < 4]
    build_store("soak", spec, videos, render=movingshapes.render)
    return [distill(method, Task(dataset="soak", ipc=1), 0, folder) for method in ("random", "mean")]


class Chaos:
    """One fault at a time, each on something that runs."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.cluster, self.random, self.done = cluster, random.Random(seed), Counter[str]()
        self.faults: list[Callable[[], bool]] = [self.preempt, self.requeue, self.crash, self.cancel]
        self.faults += [self.kill_cell, self.kill_worker, self.controller]

    def once(self) -> None:
        fault = self.random.choice(self.faults)
        with contextlib.suppress(subprocess.SubprocessError):  # it ended meanwhile, or Slurm is busy
            if fault():
                self.done[fault.__name__] += 1

    def running(self) -> list[str]:
        return self.cluster.sh("squeue -h -r -p main -t R -o %i").split()

    def preempt(self) -> bool:
        self.cluster.preempt(self.random.uniform(1, 5), self.random.choice(self.cluster.nodes))
        return True

    def requeue(self) -> bool:
        return self._on_one("scontrol requeue")

    def cancel(self) -> bool:
        return self._on_one("scancel")

    def _on_one(self, command: str) -> bool:
        if jobs := self.running():
            self.cluster.sh(f"{command} {self.random.choice(jobs)}")
        return bool(jobs)

    def crash(self) -> bool:
        node = self.random.choice(self.cluster.nodes)
        self.cluster.crash_node(node)
        time.sleep(self.random.uniform(0, 20))
        self.cluster.start_node(node)
        return True

    def controller(self) -> bool:
        self.cluster.stop_controller()
        time.sleep(self.random.uniform(1, 10))
        self.cluster.start_controller()
        return True

    def kill_cell(self) -> bool:
        return self._kill("vddbench.cluster.child")

    def kill_worker(self) -> bool:
        return self._kill("submitit.core._submit")

    def _kill(self, word: str) -> bool:
        pids = [pid for pid, line in processes(self.cluster.config).items() if word in line and "srun" not in line]
        if pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.random.choice(pids), signal.SIGKILL)
        return bool(pids)


def soak(folder: Path, minutes: float, cells: int, seed: int) -> bool:
    """Returns whether no cell was lost or made twice."""
    paths, home = submissions(folder / "submissions"), Path(os.environ["VDDBENCH_HOME"])
    seeds = -(-cells // len(paths))
    with Cluster(folder / "s") as cluster, cluster.kicking():
        os.environ.update({name: cluster.env[name] for name in ("SLURM_CONF", "PATH")})
        run = write_plan(folder / "run", evaluations(paths, ["convnet3d"], range(seeds)), home).run
        submit(run, ASKED, SLURM)
        chaos, retries, end = Chaos(cluster, seed), 0, time.monotonic() + minutes * 60
        while (now := status(run)).counts["done"] < len(run.cells) or time.monotonic() < end:
            if time.monotonic() > end + DEADLINE_SECONDS:
                break  # the report counts the cells that are left as lost
            if now.counts["done"] == len(run.cells):  # before the time is over: more cells
                seeds += 5
                run = write_plan(run.path, evaluations(paths, ["convnet3d"], range(seeds)), home).run
                submit(run, ASKED, SLURM)
            if time.monotonic() < end:
                time.sleep(chaos.random.uniform(*PAUSE_SECONDS))
                chaos.once()
            else:
                time.sleep(2)
            with contextlib.suppress(ValueError):  # Slurm does not answer at this moment
                retries += sum(len(task) for job in retry(run, SLURM) for task in job.tasks)
            say(f"{now.counts}  {dict(chaos.done)}")
        cluster.wait_for(
            lambda: all(task.is_over for task in slurm.queue(read_jobs(run)).values()), 120, "the end of all tasks"
        )
        return report(run, chaos, retries, folder)


def report(run: Run, chaos: Chaos, retries: int, folder: Path) -> bool:
    taken = collect(run, folder / "results", folder)
    logs = [run.log(cell).read_text() for cell in run.cells]  # appended to by every worker, so that no attempt is missing
    twice = [cell for cell, log in enumerate(logs) if log.count("--- done after ") > 1]
    log = "".join(logs)
    outcomes = Counter(re.findall(r"^--- (job|\w+ after)", log, re.MULTILINE))
    print(f"{len(run.cells)} cells, faults: {dict(chaos.done)}, {sum(chaos.done.values())} in all")
    print(f"attempts begun (job) and ended: {dict(outcomes)}; resumed students: {log.count('resumes after step')}")
    print(f"cells retried by their owner: {retries}")
    lost = len(taken.missing) + len(taken.damaged) + len(taken.other)
    print(f"valid records: {len(taken.copied)}, lost: {lost}, made twice: {len(twice)}")
    return not lost and not twice


def main(minutes: float = 10, cells: int = 60, seed: int = 0) -> None:
    if reason := available():
        sys.exit(reason)
    with tempfile.TemporaryDirectory(prefix="soak") as name:
        os.environ |= {"VDDBENCH_HOME": f"{name}/home", "OMP_NUM_THREADS": "1"}
        sys.exit(0 if soak(Path(name), minutes, cells, seed) else 1)


if __name__ == "__main__":
    main(*(float(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else ())
