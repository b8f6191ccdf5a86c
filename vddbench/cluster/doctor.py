"""Does this site run vddbench? Asks Slurm, then sends one short job that looks around on a node."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from vddbench.cluster import slurm
from vddbench.cluster.jobs import Resources
from vddbench.system.progress import say

JOB_SECONDS = 180.0  # waited for the short job
LOOK = """import json, os, socket, sys
import torch, vddbench
found = dict(host=socket.gethostname(), python=sys.version.split()[0], vddbench=vddbench.__version__, torch=torch.__version__,
             gpus=torch.cuda.device_count(), gpu=torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
             asked=os.environ.get("CUDA_VISIBLE_DEVICES", ""), home=os.path.isdir(sys.argv[2]))
with open(sys.argv[1] + ".part", "w") as file:
    json.dump(found, file)
os.replace(sys.argv[1] + ".part", sys.argv[1])
"""


def doctor(resources: Resources, folder: Path, home: Path) -> bool:
    """Prints one line a check; True when all are well. `folder` has to be on the file system that nodes share."""
    checks: list[Callable[[], str]] = [
        lambda: slurm.ask(["sbatch", "--version"]).strip(),
        lambda: "controller answers: " + slurm.ask(["scontrol", "ping"]).strip().splitlines()[0],
        lambda: f"at most {slurm.max_array():,} tasks an array",
        partitions,
        lambda: requests(resources),
        lambda: look_on_a_node(resources, folder, home),
    ]
    return all([_passed(check) for check in checks])


def _passed(check: Callable[[], str]) -> bool:
    try:
        say(f"ok    {check()}")
    except (ValueError, OSError) as error:
        say(f"FAIL  {error}", style="red")
        return False
    return True


def partitions() -> str:
    shown = slurm.ask(["sinfo", "-h", "-o", "%P %a, limit %l, %D nodes %t, %c cores, %m MB, %G"])
    return "partitions:\n      " + "\n      ".join(shown.strip().splitlines()[:20])


def requests(resources: Resources) -> str:
    if complaint := slurm.asked_too_much(resources):
        raise ValueError(f"Slurm refuses jobs of these settings: {complaint}; change them in cluster.toml or by options")
    return f"Slurm takes jobs of {resources.cpus} cores, {resources.gpus} GPUs, {resources.mem:g} GB, {resources.time} min"


def look_on_a_node(resources: Resources, folder: Path, home: Path) -> str:
    """A job of at most a minute writes what it sees into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f".doctor-{uuid4().hex[:8]}"
    place.mkdir()
    job_id = ""
    try:
        (place / "look.py").write_text(LOOK)
        lines = [
            "#!/bin/bash",
            *resources.setup,
            f"exec srun '{sys.executable}' '{place}/look.py' '{place}/seen.json' '{home}'",
        ]
        (place / "look.sh").write_text("\n".join(lines) + "\n")
        options = [f"--output={place}/log", "--time=1", f"--cpus-per-task={resources.cpus}", "--job-name=vddbench-doctor"]
        options += [f"--gpus-per-node={resources.gpus}"] if resources.gpus else []
        options += [f"--{n}={v}" for n in ("partition", "account", "qos", "constraint") if (v := getattr(resources, n))]
        shown = slurm.ask(["sbatch", "--parsable", *options, str(place / "look.sh")], environment=_here())
        job_id = shown.strip().partition(";")[0]
        return _seen(place, job_id, resources)
    finally:
        if job_id:
            slurm.cancel([job_id])
        shutil.rmtree(place, ignore_errors=True)


def _here() -> dict[str, str]:
    here = str(Path(__file__).parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def _seen(place: Path, job_id: str, resources: Resources) -> str:
    until, seen = time.monotonic() + JOB_SECONDS, place / "seen.json"
    while not seen.exists():
        state = slurm.ask(["squeue", "-h", "-o", "%T %r", "-j", job_id], allowed=("Invalid job id",)).strip()
        if not state:
            time.sleep(2)
            if not seen.exists():
                log = (place / "log").read_text(errors="replace")[-1500:] if (place / "log").exists() else "no log"
                raise ValueError(f"job {job_id} ended without a file in {place}: is it shared, is Python there? Its log: {log}")
        if time.monotonic() > until:
            raise ValueError(f"job {job_id} did not run within {JOB_SECONDS:.0f} s ({state}); it is cancelled")
        time.sleep(1)
    found = json.loads(seen.read_text())
    if not found["home"]:
        raise ValueError(f"{found['host']} does not see the prepared data: put VDDBENCH_HOME on a shared file system")
    if resources.gpus and not found["gpus"]:
        raise ValueError(f"{found['host']}: PyTorch {found['torch']} sees no GPU (CUDA_VISIBLE_DEVICES={found['asked']!r})")
    gpu = f"{found['gpus']} x {found['gpu']}" if found["gpus"] else "no GPU asked for"
    return f"{found['host']}: Python {found['python']}, torch {found['torch']}, {gpu}; folders are shared"
