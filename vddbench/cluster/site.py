"""What a site's Slurm wants, once: `~/.config/vddbench/cluster.toml`.

partition = "gpu"          # any of partition, account, qos, constraint
account = "vision"
gpus = 1                   # a task (default 1; 0 for a cluster without)
cpus = 8                   # a task (default 4)
mem = 32                   # GB a task (default 16)
time = 240                 # minutes a task (default 60); what is not done by then goes on in the next
max_parallel = 50          # tasks at a time
setup = ["module load cuda", "source /shared/venv/bin/activate"]
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vddbench.cluster.jobs import Resources

MAX_BYTES = 100_000


def config_file() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "vddbench" / "cluster.toml"


def resources(**given: Any) -> Resources:
    """What the command line gives over what the site's file says over the defaults. Raises ValueError naming file and field."""
    file = config_file()
    found: dict[str, Any] = {}
    if file.exists():
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{file} has {file.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
        try:
            found = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is not TOML: {error}") from None
        validated(found, f"{file}: ")
    return validated(found | {name: value for name, value in given.items() if value is not None})


def validated(fields: dict[str, Any], where: str = "") -> Resources:
    """Raises ValueError naming the fields at fault."""
    try:
        return Resources.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)[:5])
        raise ValueError(f"{where}{wrong}; allowed: {', '.join(Resources.model_fields)}") from None
