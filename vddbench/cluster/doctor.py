"""`vddbench doctor`: checks that vddbench runs on this site. Asks Slurm, then submits a short job that reports from a node."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from vddbench.cluster import slurm
from vddbench.cluster.resources import Resources
from vddbench.cluster.worker import search_path
from vddbench.system.files import read_json
from vddbench.system.progress import say

JOB_SECONDS = 180.0  # time to wait for the short job
MAX_REPORT_BYTES = 100_000
REPORT = """import json, os, socket, sys
import torch, vddbench
report = dict(host=socket.gethostname(), python=sys.version.split()[0], vddbench=vddbench.__version__, torch=torch.__version__,
              gpus=torch.cuda.device_count(), gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
              visible=os.environ.get("CUDA_VISIBLE_DEVICES", ""), home=os.path.isdir(sys.argv[2]))
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(report, file)
os.replace(sys.argv[1] + ".part", sys.argv[1])
"""


def doctor(resources: Resources, folder: Path, home: Path) -> bool:
    """Prints one line per check; returns whether all pass. `folder` has to be on the file system that nodes share."""
    checks: list[Callable[[], str]] = [
        lambda: slurm.ask(["sbatch", "--version"]).strip(),
        lambda: "controller answers: " + slurm.ask(["scontrol", "ping"]).strip().splitlines()[0],
        lambda: f"at most {slurm.max_array():,} tasks an array",
        partitions,
        lambda: requests(resources),
        lambda: report_of_a_node(resources, folder, home),
    ]
    return all([_passes(check) for check in checks])


def _passes(check: Callable[[], str]) -> bool:
    try:
        say(f"ok    {check()}")
    except (ValueError, OSError) as error:
        say(f"FAIL  {error}", style="red")
        return False
    return True


def partitions() -> str:
    lines = slurm.ask(["sinfo", "-h", "-o", "%P %a, limit %l, %D nodes %t, %c cores, %m MB, %G"]).strip().splitlines()
    return "partitions:\n      " + "\n      ".join(lines[:20])


def requests(resources: Resources) -> str:
    if complaint := refusal(resources):
        raise ValueError(f"Slurm refuses jobs of these settings: {complaint}; change them in cluster.toml or by options")
    return f"Slurm takes jobs of {' '.join(options(resources))}"


def options(resources: Resources, without: Sequence[str] = ()) -> list[str]:
    """The resources as options of sbatch."""
    given = {name: value for name, value in resources.options().items() if name not in without}
    return [f"--{name}={value}" if value else f"--{name}" for name, value in given.items()]


def refusal(resources: Resources) -> str:
    """Slurm's reason to refuse a job with these resources; "" if it would accept. Submits nothing."""
    try:
        slurm.ask(["sbatch", "--test-only", *options(resources), "--wrap", "true"])
    except slurm.Unanswered:
        raise
    except ValueError as error:
        return str(error)
    return ""


def report_of_a_node(resources: Resources, folder: Path, home: Path) -> str:
    """Submits a job of at most a minute that writes its report into `folder`."""
    place = folder.resolve() / f".doctor-{uuid4().hex[:8]}"
    place.mkdir(parents=True)
    job_id = ""
    try:
        (place / "report.py").write_text(REPORT)
        command = f"exec srun {shlex.join([sys.executable, '-P', f'{place}/report.py', f'{place}/report.json', str(home)])}"
        (place / "job.sh").write_text("\n".join(["#!/bin/bash", *resources.setup, command, ""]))
        sbatch = ["sbatch", "--parsable", f"--output={place}/log", "--time=1", "--job-name=vddbench-doctor"]
        asked = options(resources, without=["time"])
        answer = slurm.ask([*sbatch, *asked, str(place / "job.sh")], environment={"PYTHONPATH": search_path()})
        job_id = answer.strip().partition(";")[0]
        return _judged(_report(place, job_id), resources)
    finally:
        if job_id:
            slurm.cancel([job_id])
        shutil.rmtree(place, ignore_errors=True)


def _report(place: Path, job_id: str) -> dict[str, Any]:
    """Waits for the job's report. Raises ValueError if it does not come."""
    until, file, log = time.monotonic() + JOB_SECONDS, place / "report.json", place / "log"
    while not file.exists():
        state = slurm.ask(["squeue", "-h", "-o", "%T %r", "-j", job_id], allowed=("Invalid job id",)).strip()
        if not state:
            time.sleep(2)
            if not file.exists():
                text = log.read_text(errors="replace")[-1500:] if log.exists() else "no log"
                raise ValueError(f"job {job_id} left no report in {place}: is it shared, does Python exist there? Log: {text}")
        if time.monotonic() > until:
            raise ValueError(f"job {job_id} did not run within {JOB_SECONDS:.0f} s ({state}); it is cancelled")
        time.sleep(1)
    report: dict[str, Any] = read_json(file, MAX_REPORT_BYTES)
    return report


def _judged(report: dict[str, Any], resources: Resources) -> str:
    host, torch = report["host"], report["torch"]
    if not report["home"]:
        raise ValueError(f"{host} does not see the prepared data: put VDDBENCH_HOME on a shared file system")
    if resources.gpus and not report["gpus"]:
        raise ValueError(f"{host}: PyTorch {torch} sees no GPU (CUDA_VISIBLE_DEVICES={report['visible']!r})")
    gpu = f"{report['gpus']} x {report['gpu']}" if report["gpus"] else "no GPU asked for"
    return f"{host}: Python {report['python']}, torch {torch}, {gpu}; folders are shared"
