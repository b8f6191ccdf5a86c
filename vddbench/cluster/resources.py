"""Resources of one task of a job. Options of the command line override the site's settings, which override defaults.

A site's settings are in `~/.config/vddbench/cluster.toml`:

partition = "gpu"          # any of partition, account, qos, constraint, exclude, reservation
account = "vision"
gpus = 1                   # GPUs per task (default 1; 0 for a cluster without GPUs)
gpu_type = "v100"          # for sites that demand a type: --gres=gpu:v100:1
cpus = 8                   # cores per task (default 4)
mem = 32                   # GB per task (default 16); 0 requests no memory, for sites that refuse --mem
mem_per_cpu = 4            # GB per core, instead of mem
sbatch = ["--nodes=1"]     # any other options of sbatch, as in lines of #SBATCH
time = 240                 # minutes per task (default 60); unfinished cells continue in the next task
max_parallel = 50          # tasks at a time
setup = ["module load cuda", "source /shared/venv/bin/activate"]
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from vddbench.cluster.plan import Short
from vddbench.spec import Frozen

Word = Annotated[str, StringConstraints(pattern=r"^[\w.,:|&*()\[\]@/+-]{1,200}$")]  # exactly one word of an #SBATCH line
MAX_MEM_GB = 10_000.0
MAX_TOML_BYTES = 100_000
OWN = {  # options of sbatch that vddbench sets itself, or that change what sbatch does
    *("array", "chdir", "error", "export", "help", "job-name", "no-requeue", "open-mode", "output", "parsable", "requeue"),
    *("signal", "test-only", "wait", "wrap"),
}
Option = Annotated[str, StringConstraints(pattern=r"^--[a-z][a-z0-9-]*(=[^\x00-\x1f\x7f]{1,500})?$")]


def _free(option: str) -> str:
    """Raises ValueError for an option that vddbench has to set itself."""
    if (name := option[2:].partition("=")[0]) in OWN:
        raise ValueError(f"--{name} is set by vddbench")
    return option


class Resources(Frozen):
    """The resources that one task of a job requests."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 1  # a cell uses one
    cpus: Annotated[int, Field(ge=1, le=1024)] = 4
    mem: Annotated[float, Field(ge=0, le=MAX_MEM_GB)] = 16.0  # GB = 2^30 bytes, as Slurm counts; 0: not requested
    gpu_type: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,100}$")] | None = None
    mem_per_cpu: Annotated[float, Field(gt=0, le=MAX_MEM_GB)] | None = None  # GB, instead of mem
    time: Annotated[int, Field(ge=1, le=60 * 24 * 60)] = 60  # minutes
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    exclude: Word | None = None  # nodes
    reservation: Word | None = None
    sbatch: tuple[Annotated[Option, AfterValidator(_free)], ...] = ()  # further options of sbatch
    max_parallel: Annotated[int, Field(ge=1, le=100_000)] | None = None  # tasks at a time
    setup: tuple[Short, ...] = ()  # shell lines before Python starts, e.g. "module load cuda"

    def options(self) -> dict[str, str]:
        """The resources as options of sbatch by name; the value of an option without one is "".

        Those of `sbatch` replace others that request the same in another form: memory by node or by core, GPUs in any way.
        """
        free = {name: value for name, _, value in (option[2:].partition("=") for option in self.sbatch)}
        words = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint", "exclude", "reservation")}
        options = {"time": str(self.time), "cpus-per-task": str(self.cpus)}
        options |= {name: value for name, value in words.items() if value is not None}
        if not any(name.startswith("mem") for name in free):
            options |= self._memory()
        if self.gpus and not any(name.startswith(("gpus", "gres", "tres-per")) for name in free):
            by_type = {"gres": f"gpu:{self.gpu_type}:{self.gpus}"}
            options |= by_type if self.gpu_type is not None else {"gpus-per-node": str(self.gpus)}
        return options | free

    def _memory(self) -> dict[str, str]:
        if self.mem_per_cpu is not None:
            return {"mem-per-cpu": f"{int(self.mem_per_cpu * 1024)}M"}
        return {"mem": f"{int(self.mem * 1024)}M"} if self.mem else {}

    def with_twice_the_memory(self) -> Resources:
        """Twice the memory, in the form in which it is requested; the same if `sbatch` or the site decides on it."""
        per_cpu = None if self.mem_per_cpu is None else min(2 * self.mem_per_cpu, MAX_MEM_GB)
        return self.model_copy(update={"mem": min(2 * self.mem, MAX_MEM_GB), "mem_per_cpu": per_cpu})


def config_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "vddbench" / "cluster.toml"


def resources(options: Mapping[str, Any] | None = None) -> Resources:
    """Combines options, the site's settings and defaults. Raises ValueError naming the file and the fields at fault."""
    file = config_file()
    settings: dict[str, Any] = {}
    if file.exists():
        if file.stat().st_size > MAX_TOML_BYTES:
            raise ValueError(f"{file} has {file.stat().st_size:,} bytes; at most {MAX_TOML_BYTES:,} are read")
        try:
            settings = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is not TOML: {error}") from None
        validated(settings, f"{file}: ")
    return validated(overridden(settings, options or {}))


def overridden(settings: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with these options instead; `mem` replaces `mem_per_cpu`, too."""
    dropped = {"mem_per_cpu"} if "mem" in options else set()
    return {**{name: value for name, value in settings.items() if name not in dropped}, **options}


def validated(fields: dict[str, Any], where: str = "") -> Resources:
    """Raises ValueError naming the fields at fault."""
    try:
        return Resources.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)[:5])
        raise ValueError(f"{where}{wrong}; allowed: {', '.join(Resources.model_fields)}") from None
