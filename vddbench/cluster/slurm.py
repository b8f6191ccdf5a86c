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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from vddbench.cluster.jobs import Job, Resources
from vddbench.cluster.plan import Run, wait_for
from vddbench.cluster.worker import Stop, Worker
from vddbench.system.progress import say

ASK_SECONDS = 20.0  # for an answer of Slurm's commands
SUBMIT_SECONDS = 300.0  # a controller that is being restarted is waited for
SIGNAL_SECONDS = 90  # before the time limit, to save and requeue
DEFAULT_ARRAY = 1001  # Slurm's default MaxArraySize: indices stay below it
NOT_THERE = re.compile(r"[Uu]nable to contact|Socket timed out|Connection refused|Transport endpoint|Zero Bytes|not responding")
NEVER = re.compile(  # reasons that no waiting changes, unless somebody changes the cluster or the request
    r"Partition(NodeLimit|TimeLimit|Inactive|Down)|BadConstraints|Invalid(Account|QOS)|NotAllowed|[Hh]eld|Hold|"
    r"DependencyNeverSatisfied|Max\w+Per(Job|Node)|QOSMinGRES"
)
OVER = re.compile(r"COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE|REVOKED")
OURS = re.compile(r"(SLURM|SBATCH|SQUEUE|SCANCEL|SINFO)_")  # of a job around us, or a profile: they change what commands do
KEPT = {"SLURM_CONF", "SLURM_CLUSTERS"}


@dataclass(frozen=True)
class Queued:
    """One task as `squeue` shows it, for some minutes also after its end."""

    state: str  # PENDING, RUNNING, COMPLETING, TIMEOUT, ...
    reason: str = ""
    ended: float = 0.0  # seconds since 1970, of tasks that are over

    @property
    def is_over(self) -> bool:
        return bool(OVER.fullmatch(self.state))

    @property
    def is_running(self) -> bool:
        return self.state in {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}


class Unanswered(ValueError):
    """Slurm's controller did not answer."""


# --- on the node ------------------------------------------------------------------------------------------------------


def entry(folder: str, number: int, task: int) -> str:
    """What a task of an array runs. Ends with SystemExit when a cell failed, so that Slurm's own records say so too."""
    from vddbench.cluster.jobs import file_of, read_job

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
    run.wait_for_cells(max(job.tasks[task]))
    environment = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", str(job.resources.cpus))}
    if not job.resources.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""  # none was given to us
    outcomes = Worker(run, job, task, stop, environment, needs_gpu=job.resources.gpus > 0).work()
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
    except ValueError:  # it doesn't answer: the cell is told as interrupted, and `retry` takes it up
        return
    time.sleep(60)  # Slurm ends this process


# --- submitting -------------------------------------------------------------------------------------------------------


def submit(run: Run, job: Job) -> str:
    """Submits the array of `job`; returns its id. Raises ValueError with Slurm's reason, Unanswered."""
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    numbers = range(len(job.tasks))
    until = time.monotonic() + SUBMIT_SECONDS
    while True:
        try:
            with clean_environment():
                executor = SlurmExecutor(run.path / "slurm")
                executor.update_parameters(**parameters(job))
                if len(numbers) == 1:
                    return str(executor.submit(entry, str(run.path), job.number, 0).job_id)
                tasks = executor.map_array(entry, [str(run.path)] * len(numbers), [job.number] * len(numbers), numbers)
            return str(tasks[0].job_id).partition("_")[0]
        except (FailedJobError, FailedSubmissionError) as error:
            message = last_line(str(error))
            if not NOT_THERE.search(str(error)):
                raise ValueError(f"Slurm refused {job.name}: {message}") from None
            say(f"Slurm does not answer ({message}): trying on", style="yellow")
            time.sleep(5)
            with suppress(Unanswered):
                if (found := adopted(run, job)) is not None:  # it was accepted, only the answer was lost
                    return found
            if time.monotonic() > until:
                raise Unanswered(f"Slurm did not answer for {SUBMIT_SECONDS:.0f} s: {message}") from None


def adopted(run: Run, job: Job) -> str | None:
    """The id of the job of this name, whose submission was cut short; None when Slurm has none that can run.

    A task reads what it is to do from a file that submitit names after Slurm's answer: a job without them is cancelled.
    Raises Unanswered.
    """
    shown = ask(["squeue", "-h", "-o", "%F|%T", "--name", job.name, "--states=all"])
    rows = [line.split("|") for line in shown.splitlines() if "|" in line]
    alive = [job_id for job_id, state in rows if not state.startswith("CANCELLED")]
    for job_id in dict.fromkeys(alive):
        named = job.model_copy(update={"job_id": job_id})
        if all((run.path / "slurm" / f"{named.task_id(t)}_submitted.pkl").exists() for t in range(len(job.tasks))):
            return job_id
        cancel([job_id])
    return None


def parameters(job: Job) -> dict[str, object]:
    """submitit's names of what a job asks for."""
    asked = job.resources
    found: dict[str, object] = {
        "job_name": job.name,
        "time": asked.time,
        "mem": f"{int(asked.mem * 1024)}M",
        "cpus_per_task": asked.cpus,
        "signal_delay_s": min(SIGNAL_SECONDS, asked.time * 60 // 4),
        "array_parallelism": asked.max_parallel or len(job.tasks),
        "wckey": None,  # submitit's own is refused where wckeys are tracked
        "setup": list(asked.setup) or None,
        "additional_parameters": {"requeue": True},
    }
    if asked.gpus:
        found["gpus_per_node"] = asked.gpus
    for name in ("partition", "account", "qos", "constraint"):
        if (value := getattr(asked, name)) is not None:
            found[name] = value
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


def queue(jobs: Sequence[Job]) -> dict[str, Queued]:
    """Tasks by id ("12_3"; "12" for an array of one) as Slurm knows them, in one call. Raises ValueError, Unanswered."""
    if not jobs:
        return {}
    names = ",".join(job.name for job in jobs)
    found = {}
    for line in ask(["squeue", "-h", "-r", "-o", "%i|%T|%r|%e", "--name", names, "--states=all"]).splitlines():
        job_id, state, reason, ended = [*line.split("|"), "", "", ""][:4]
        found[job_id] = Queued(state, "" if reason == "None" else reason, _time(ended))
    return found


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


@contextmanager
def clean_environment() -> Iterator[None]:
    """Without what a job around us or a profile tells Slurm's commands: it would win over what is asked for here."""
    taken = {name: os.environ.pop(name) for name in list(os.environ) if OURS.match(name) and name not in KEPT}
    try:
        yield
    finally:
        os.environ.update(taken)


def ask(command: Sequence[str], allowed: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """What a command of Slurm's prints. Raises Unanswered when the controller doesn't, ValueError with its complaint."""
    env = {name: value for name, value in os.environ.items() if not OURS.match(name) or name in KEPT} | dict(environment or {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False, env=env)
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
