"""Slurm: submits job arrays through submitit, which only this file imports, and asks Slurm's commands about them.

submitit writes the script, and pickles a module-level function with its arguments. Its own ways to wait, to requeue and to
return results are not used: `entry` handles the signals, and the result of a cell is a file.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType

from vddbench.cluster.access import private_folder, refusal_on_the_node
from vddbench.cluster.jobs import Job
from vddbench.cluster.plan import Cell, Run, wait_for
from vddbench.cluster.resources import Resources
from vddbench.cluster.worker import Stop, Worker, search_path
from vddbench.system.progress import say

ASK_SECONDS = 20.0  # time limit for an answer of a Slurm command
SUBMIT_SECONDS = 300.0  # time limit for a controller that is being restarted
SIGNAL_SECONDS = 90  # before the time limit, to save and requeue
COMPLAINTS = 3  # lines of a command's complaint that are repeated
DEFAULT_ARRAY = 1001  # Slurm's default MaxArraySize; indices stay below it
NO_ANSWER = re.compile(r"[Uu]nable to contact|Socket timed out|Connection refused|Transport endpoint|Zero Bytes|not responding")
NEVER = re.compile(  # reasons for pending that remain until somebody changes the cluster or the request
    r"Partition(NodeLimit|TimeLimit|Inactive|Down)|BadConstraints|Invalid(Account|QOS)|NotAllowed|[Hh]eld|Hold|"
    r"DependencyNeverSatisfied|Max\w+Per(Job|Node)|QOSMinGRES"
)
OVER = re.compile(r"COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|PREEMPTED|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE|REVOKED")
INHERITED = re.compile(
    r"(?!SLURM_(CONF|CLUSTERS)$)(SLURM|SBATCH|SQUEUE|SCANCEL|SINFO)_"
)  # these change the behaviour of Slurm's commands


@dataclass(frozen=True)
class Queued:
    """A task as `squeue` shows it, also for some minutes after its end."""

    state: str  # PENDING, RUNNING, COMPLETING, TIMEOUT, ...
    reason: str = ""
    ended: float = 0.0  # seconds since 1970, of tasks that are over
    job_id: str = ""  # "12_3"; "12" for an array of one

    @property
    def number(self) -> int:
        return int(self.job_id.partition("_")[0] or 0)

    @property
    def is_over(self) -> bool:
        return bool(OVER.fullmatch(self.state))

    @property
    def is_running(self) -> bool:
        return self.state in {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}


class Unanswered(ValueError):
    """Slurm's controller did not answer."""


# --- on the node ------------------------------------------------------------------------------------------------------


def entry(folder: str, number: int, cells: Sequence[Cell], resources: Resources) -> str:
    """Runs one task of job `number`. Raises SystemExit if a cell failed, so that Slurm's own records show it too."""
    stop = Stop()

    def ask_to_stop(signum: int, frame: FrameType | None) -> None:
        stop.asked = True

    for signum in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):  # replaces submitit's handlers for some of them
        signal.signal(signum, ask_to_stop)
    wait_for(Path(folder) / "plan.json")
    environment = {"OMP_NUM_THREADS": os.environ.get("SLURM_CPUS_PER_TASK", str(resources.cpus))}
    if not resources.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    worker = Worker(Run.open(Path(folder)), number, stop, environment, needs_gpu=resources.gpus > 0)
    outcomes = worker.work(cells)
    if stop.asked and (len(outcomes) < len(cells) or "interrupted" in outcomes):
        requeue_self()
    if len(outcomes) < len(cells) or set(outcomes) != {"done"}:
        raise SystemExit(1)
    return "done"


def requeue_self() -> None:
    """Returns this job to the queue, unless Slurm already does (preemption, scontrol requeue) or the job was cancelled."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job_id = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    try:
        if "JobState=RUNNING" in ask(["scontrol", "show", "job", "-o", job_id]):
            ask(["scontrol", "requeue", job_id])
    except ValueError:  # no answer: the cell stays `interrupted`, and `retry` resumes it
        return
    time.sleep(60)  # Slurm ends this process


# --- submitting -------------------------------------------------------------------------------------------------------


def submit(run: Run, job: Job) -> str:
    """Submits the array of `job`. Returns its id. Raises Unanswered, ValueError with Slurm's reason or for an unsafe folder.

    If Slurm accepts an array and its answer is lost, submitit has not yet renamed the files that the tasks read. Such an array
    is cancelled and submitted again under the same name.
    """
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError

    folder = private_folder(run, job)
    for tool in ("sbatch", "srun"):  # submitit submits no job without srun
        if shutil.which(tool) is None:
            raise ValueError(f"{tool} is not installed here: run this where sbatch and srun are, or use --cluster local")
    cells = [[run.cells[index] for index in task] for task in job.tasks]
    until = time.monotonic() + SUBMIT_SECONDS
    while True:
        try:
            with clean_environment():
                executor = SlurmExecutor(folder, python=f"{shlex.quote(sys.executable)} -P")
                executor.update_parameters(**parameters(run, job))
                columns = zip(*((str(run.path), job.number, task, job.resources) for task in cells), strict=True)
                return str(executor.map_array(entry, *columns)[0].job_id).partition("_")[0]
        except FailedJobError as error:  # sbatch failed
            message = complaint(str(error))
            if not NO_ANSWER.search(str(error)):
                raise ValueError(f"Slurm refused {job.name}: {message}") from None
            if time.monotonic() > until:
                raise Unanswered(f"Slurm did not answer for {SUBMIT_SECONDS:.0f} s: {message}; later: batch retry") from None
            say(f"Slurm does not answer ({message}): trying again", style="yellow")
            time.sleep(5)
            with suppress(Unanswered):
                ask(["scancel", "--name", job.name])
        except (RuntimeError, OSError, TypeError) as error:  # of submitit: perhaps sbatch has accepted the job
            with suppress(ValueError):
                ask(["scancel", "--name", job.name])
            raise ValueError(f"submitit could not submit {job.name} ({type(error).__name__}: {str(error)[:500]})") from error


def log_of(run: Run, job: Job, task: int) -> Path | None:
    """The output of a task's last run before and between its cells."""
    pattern = f"*_{task}_0_log.err" if len(job.tasks) > 1 else "*_0_log.err"
    return max((run.path / "slurm" / str(job.number)).glob(pattern), key=lambda log: log.stat().st_mtime, default=None)


def parameters(run: Run, job: Job) -> dict[str, object]:
    """The job's resources under submitit's names."""
    resources = job.resources
    return {
        "job_name": job.name,
        "signal_delay_s": min(SIGNAL_SECONDS, resources.time * 60 // 4),
        "array_parallelism": resources.max_parallel or len(job.tasks),
        "wckey": None,  # submitit's default is refused where wckeys are tracked
        "setup": [refusal_on_the_node(run), *resources.setup],
        "additional_parameters": {name: value or True for name, value in resources.options().items()} | {"requeue": True},
    }


def max_array() -> int:
    """The largest number of tasks of one array."""
    try:
        match = re.search(r"MaxArraySize\s*=\s*(\d+)", ask(["scontrol", "show", "config"]))
    except ValueError:  # no answer, or a site without scontrol for users
        match = None
    return max(1, (int(match[1]) if match else DEFAULT_ARRAY) - 1)


# --- asking -----------------------------------------------------------------------------------------------------------


def queue(jobs: Sequence[Job]) -> dict[tuple[str, int], Queued]:
    """Tasks that Slurm knows, by the job's name and the task's number. Asks once. Raises ValueError, Unanswered."""
    if not jobs:
        return {}
    names = ",".join(job.name for job in jobs)
    lines = ask(["squeue", "-h", "-r", "-o", "%j|%i|%T|%e|%r", "--name", names, "--states=all"]).splitlines()
    tasks: dict[tuple[str, int], Queued] = {}
    for name, job_id, state, ended, reason in (line.split("|", 4) for line in lines):
        task = int(job_id.partition("_")[2] or 0)
        queued = Queued(state, "" if reason == "None" else reason, _seconds(ended), job_id)
        if (name, task) not in tasks or tasks[name, task].number < queued.number:  # the newest task of a name counts
            tasks[name, task] = queued
    return tasks


def _seconds(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def cancel(job_ids: Sequence[str]) -> None:
    """Raises Unanswered. Ignores ids that Slurm has forgotten."""
    if job_ids:
        ask(["scancel", *job_ids], allowed=("Invalid job id", "already completing or completed"))


@contextmanager
def clean_environment() -> Iterator[None]:
    """The environment that jobs inherit: without variables of a surrounding job or a profile, which would override our options
    of Slurm's commands, and with a search path on which `python -P` finds vddbench."""
    before = dict(os.environ)
    for name in before:
        if INHERITED.match(name):
            del os.environ[name]
    os.environ["PYTHONPATH"] = search_path()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def ask(command: Sequence[str], allowed: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> str:
    """Returns the output of a Slurm command. Raises Unanswered if the controller does not answer, else ValueError."""
    env = {name: value for name, value in os.environ.items() if not INHERITED.match(name)} | dict(environment or {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_SECONDS, check=False, env=env)
    except FileNotFoundError:
        raise ValueError(f"{command[0]} is not installed here: run this where Slurm is, or use --cluster local") from None
    except subprocess.TimeoutExpired:
        raise Unanswered(f"{command[0]} did not answer within {ASK_SECONDS:.0f} s") from None
    if done.returncode and not any(text in done.stderr for text in allowed):
        reason = complaint(done.stderr)
        raise Unanswered(reason) if NO_ANSWER.search(done.stderr) else ValueError(f"{command[0]}: {reason}")
    return done.stdout


def complaint(text: str) -> str:
    """What a Slurm command complains about. The first line is the reason; later ones often say only that the command failed."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line).strip() for line in text.splitlines() if _is_complaint(line)]
    lines = lines or [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:COMPLAINTS])[:500] or "no reason given"


def _is_complaint(line: str) -> bool:
    return bool(re.match(r"\w+: (error|fatal): .*\w", line))
