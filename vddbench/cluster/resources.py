"""Resources of one task of a job. Options of the command line override the site's settings, which override defaults.

A site's settings are in `~/.config/vddbench/cluster.toml`:

partition = "gpu"          # any of partition, account, qos, constraint
account = "vision"
gpus = 1                   # GPUs per task (default 1; 0 for a cluster without GPUs)
cpus = 8                   # cores per task (default 4)
mem = 32                   # GB per task (default 16)
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

from pydantic import Field, StringConstraints, ValidationError

from vddbench.cluster.plan import Short
from vddbench.spec import Frozen

Word = Annotated[str, StringConstraints(pattern=r"^[\w.,:|&*()\[\]@/+-]{1,200}$")]  # exactly one word of an #SBATCH line
MAX_MEM_GB = 10_000.0
MAX_TOML_BYTES = 100_000


class Resources(Frozen):
    """The resources that one task of a job requests."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 1  # a cell uses one
    cpus: Annotated[int, Field(ge=1, le=1024)] = 4
    mem: Annotated[float, Field(gt=0, le=MAX_MEM_GB)] = 16.0  # GB = 2^30 bytes, as Slurm counts
    time: Annotated[int, Field(ge=1, le=60 * 24 * 60)] = 60  # minutes
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    max_parallel: Annotated[int, Field(ge=1, le=100_000)] | None = None  # tasks at a time
    setup: tuple[Short, ...] = ()  # shell lines before Python starts, e.g. "module load cuda"

    @property
    def mem_mb(self) -> str:
        return f"{int(self.mem * 1024)}M"

    def names(self) -> dict[str, str]:
        """Those of partition, account, QOS and constraint that are set."""
        return {name: value for name in ("partition", "account", "qos", "constraint") if (value := getattr(self, name))}


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
    return validated({**settings, **(options or {})})


def validated(fields: dict[str, Any], where: str = "") -> Resources:
    """Raises ValueError naming the fields at fault."""
    try:
        return Resources.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)[:5])
        raise ValueError(f"{where}{wrong}; allowed: {', '.join(Resources.model_fields)}") from None
