"""Slurm: arrays are submitted through submitit, which this file alone knows; what became of them is asked of Slurm's commands.

submitit writes the script and the pickles of a module-level function and two numbers. Its own ways of waiting, requeueing and
returning results are not used: signals are taken over in `entry`, and what a cell made is a file.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from vddbench.batch.jobs import Job, Resources
from vddbench.batch.plan import Run, wait_for
from vddbench.batch.worker import Stop, Worker

ASK_SECONDS = 20.0  # for an answer of Slurm's commands
SUBMIT_SECONDS = 300.0  # a controller that is being restarted is waited for
SIGNAL_SECONDS = 90  # before the time limit, to save and requeue
DEFAULT_ARRAY = 1001  # Slurm's default MaxArraySize: indices stay below it
NOT_THERE = re.compile(r"[Uu]nable to contact|Socket timed out|Connection refused|Transport endpoint|Zero Bytes|not responding")
NEVER = re.compile(  # reasons that no waiting changes, unless somebody changes the cluster or the request
    r"PartitionNodeLimit|PartitionTimeLimit|BadConstraints|InvalidAccount|InvalidQOS|JobHeld|DependencyNeverSatisfied|"
    r"(Assoc|QOS)(Grp|Max)\w*(PerJob|PerNode|Limit)|ReqNodeNotAvail|PartitionInactive|PartitionDown"
)


@dataclass(frozen=True)
class Queued:
    """One task as `squeue` shows it."""

    state: str  # PENDING, RUNNING, COMPLETING, ...
    reason: str
    elapsed_seconds: float
    node: str


class Unanswered(ValueError):
    """Slurm's controller did not answer."""


# --- on the node ------------------------------------------------------------------------------------------------------


def entry(folder: str, number: int, task: int) -> str:
    """What a task of an array runs. Ends with SystemExit when a cell failed, so that Slurm's own records say so too."""
    from vddbench.batch.jobs import file_of, read_job

    stop = Stop()

    def note(signum: int, frame: FrameType | None) -> None:
        stop.asked = True

    for each in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):  # also those that submitit took before
        signal.signal(each, note)
    path = Path(folder)
    wait_for(path / "plan.json")
    run = Run.open(path)
    wait_for(file_of(run, number))
    job = read_job(run, number)
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "")
    outcomes = Worker(run, job, task, stop, {"OMP_NUM_THREADS": threads} if threads else {}).work()
    if stop.asked and (len(outcomes) < len(job.tasks[task]) or "interrupted" in outcomes):
        requeue_self()
    if any(outcome != "done" for outcome in outcomes) or len(outcomes) < len(job.tasks[task]):
        raise SystemExit(1)
    return "done"


def requeue_self() -> None:
    """Back to the queue, unless Slurm already does that (preemption, scontrol requeue), or the job was cancelled."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job_id = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    try:
        shown = ask(["scontrol", "show", "job", "-o", job_id])
        if "JobState=RUNNING" in shown:
            ask(["scontrol", "requeue", job_id])
    except (Unanswered, ValueError):
        return
    time.sleep(60)  # Slurm ends this process


# --- submitting -------------------------------------------------------------------------------------------------------


def submit(run: Run, job: Job) -> str:
    """Submits the array of `job`; returns its id. Raises ValueError with Slurm's reason, Unanswered."""
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = AutoExecutor(run.path / "slurm", cluster="slurm")
    executor.update_parameters(**parameters(job))
    numbers = range(len(job.tasks))
    until = time.monotonic() + SUBMIT_SECONDS
    while True:
        try:
            if len(numbers) == 1:
                return str(executor.submit(entry, str(run.path), job.number, 0).job_id)
            jobs = executor.map_array(entry, [str(run.path)] * len(numbers), [job.number] * len(numbers), numbers)
            return str(jobs[0].job_id).partition("_")[0]
        except (FailedJobError, FailedSubmissionError) as error:
            message = str(error).strip()
            if not NOT_THERE.search(message):
                raise ValueError(f"Slurm refused {job.name}: {last_line(message)}") from None
            time.sleep(5)
            if (found := find(job.name)) is not None:  # it was accepted, only the answer was lost
                return found
            if time.monotonic() > until:
                raise Unanswered(f"Slurm did not answer for {SUBMIT_SECONDS:.0f} s: {last_line(message)}") from None


def parameters(job: Job) -> dict[str, object]:
    """submitit's names of what a job asks for."""
    asked, extra = job.resources, {"requeue": True}
    found: dict[str, object] = {
        "name": job.name,
        "timeout_min": asked.time,
        "mem_gb": asked.mem,
        "cpus_per_task": asked.cpus,
        "slurm_signal_delay_s": min(SIGNAL_SECONDS, asked.time * 60 // 4),
        "slurm_array_parallelism": asked.max_parallel or len(job.tasks),
        "slurm_wckey": None,  # submitit's own is refused where wckeys are tracked
        "slurm_setup": list(asked.setup) or None,
        "slurm_additional_parameters": extra,
    }
    if asked.gpus:
        found["gpus_per_node"] = asked.gpus
    for name in ("partition", "account", "qos", "constraint"):
        if (value := getattr(asked, name)) is not None:
            found[f"slurm_{name}"] = value
    return found


def max_array() -> int:
    """Most tasks of one array."""
    try:
        shown = ask(["scontrol", "show", "config"])
    except Unanswered:
        return DEFAULT_ARRAY - 1
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", shown)
    return max(1, (int(found[1]) if found else DEFAULT_ARRAY) - 1)


def cancel(job_ids: Sequence[str]) -> None:
    """Raises Unanswered; ids that are gone are no error."""
    if job_ids:
        ask(["scancel", *job_ids], allowed=("Invalid job id", "already completing or completed"))


# --- asking -----------------------------------------------------------------------------------------------------------


def find(name: str) -> str | None:
    """The id of the job of this name; None when Slurm has none. Raises Unanswered."""
    shown = ask(["squeue", "-h", "-o", "%A|%F", "--name", name, "--states=all"])
    ids = [line.split("|")[1].strip() for line in shown.splitlines() if "|" in line]
    return ids[0] if ids else None


def queue(jobs: Sequence[Job]) -> dict[str, Queued] | None:
    """Tasks that Slurm has not done with, by id ("12_3"; "12" for an array of one), in one call; None: it doesn't answer."""
    names = ",".join(job.name for job in jobs)
    try:
        shown = ask(["squeue", "-h", "-r", "-o", "%i|%T|%r|%M|%N", "--name", names]) if names else ""
    except Unanswered:
        return None
    found = {}
    for line in shown.splitlines():
        job_id, state, reason, elapsed, node = [*line.split("|"), "", "", "", ""][:5]
        found[job_id] = Queued(state, reason, seconds(elapsed), node)
    return found


def ended(job_ids: Sequence[str]) -> dict[str, str]:
    """Slurm's word for how tasks ended, by id, where there is accounting; else nothing."""
    if not job_ids:
        return {}
    try:
        shown = ask(["sacct", "-n", "-X", "-P", "-o", "JobID,State", "-j", ",".join(job_ids)])
    except ValueError:
        return {}
    rows = [line.partition("|") for line in shown.splitlines()]
    return {job_id: state for job_id, _, state in rows}


def seconds(elapsed: str) -> float:
    """Of Slurm's [D-][HH:]MM:SS."""
    days, _, clock = elapsed.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + (float(part) if part.isdecimal() else 0)
    return total + 86_400 * int(days or 0)


def ask(command: Sequence[str], allowed: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """What a command of Slurm's prints. Raises Unanswered when the controller doesn't, ValueError with its complaint."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False, env={**os.environ, **(environment or {})}
        )
    except FileNotFoundError:
        raise ValueError(f"{command[0]} is not here: run this where Slurm's commands are, or use --cluster local") from None
    except subprocess.TimeoutExpired:
        raise Unanswered(f"{command[0]} did not answer within {ASK_SECONDS:.0f} s") from None
    if done.returncode and not any(text in done.stderr for text in allowed):
        complaint = last_line(done.stderr)
        raise Unanswered(complaint) if NOT_THERE.search(done.stderr) else ValueError(f"{command[0]}: {complaint}")
    return done.stdout


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no reason given"


def asked_too_much(resources: Resources) -> str:
    """What Slurm says against a job of these resources; "" when it would take it. Nothing is submitted."""
    wanted = ["--mem", f"{int(resources.mem * 1024)}M", "--cpus-per-task", str(resources.cpus), "--time", str(resources.time)]
    wanted += ["--gpus-per-node", str(resources.gpus)] if resources.gpus else []
    for name in ("partition", "account", "qos", "constraint"):
        if (value := getattr(resources, name)) is not None:
            wanted += [f"--{name}", value]
    try:
        ask(["sbatch", "--test-only", *wanted, "--wrap", "true"])
    except Unanswered:
        raise
    except ValueError as error:
        return str(error)
    return ""
