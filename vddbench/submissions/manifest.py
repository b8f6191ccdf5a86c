"""`manifest.json`: what a submission says of itself, read with bounds and refused field by field."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from vddbench import lookup
from vddbench.spec import Manifest
from vddbench.system.files import parse_json

MANIFEST, DATA = "manifest.json", "data.safetensors"
MAX_MANIFEST_BYTES = 1_000_000  # 200 config values of 2,000 letters are 400 kB
MAX_PROBLEMS = 20  # lines of one message


def inside(folder: Path, name: str) -> Path:
    """A regular file of the folder itself. A link out of it could show any file of this machine."""
    path = folder / name
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{folder} has no {name}; a submission is {MANIFEST} and {DATA}, see `vddbench pack`")
    if path.resolve().parent != folder:
        raise ValueError(f"{path} is a link that leaves its folder; allowed: a file of the folder, so copy it there")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file; put the file itself there")
    return path


def read_manifest(folder: Path) -> Manifest:
    """Raises ValueError with one line for each field at fault."""
    path = inside(folder, MANIFEST)
    size = path.stat().st_size
    if size > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; allowed: {MAX_MANIFEST_BYTES:,}; a manifest holds no data")
    try:
        parse_json(path.read_bytes(), MAX_MANIFEST_BYTES)
    except ValueError as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path} is not valid JSON ({reason}); `vddbench schema` prints what it must hold") from error
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError("\n".join(field_problems(error))) from error


def field_problems(error: ValidationError) -> Iterator[str]:
    """At most MAX_PROBLEMS lines: which field, what is wrong, what was found."""
    known = list(Manifest.model_fields)
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems[:MAX_PROBLEMS]:
        field = ".".join(str(part)[:80] for part in problem["loc"]) or "the whole"
        if problem["type"] == "extra_forbidden":
            yield f"{MANIFEST}: {lookup.unknown('field', field, known)}; remove it"
        elif problem["type"] == "missing":
            yield f"{MANIFEST}: field {field!r} is missing; `vddbench schema` prints what it must hold"
        else:
            yield f"{MANIFEST}: field {field!r}: {problem['msg']}; found {str(problem['input'])[:80]!r}"
    if len(problems) > MAX_PROBLEMS:
        yield f"{MANIFEST}: ... and {len(problems) - MAX_PROBLEMS} more"
