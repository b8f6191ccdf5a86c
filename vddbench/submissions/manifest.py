"""Reads `manifest.json`, what a submission states about itself, with a limit on its size and a message for each wrong field."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from vddbench import lookup
from vddbench.spec import Manifest
from vddbench.system.files import parse_json

MANIFEST, DATA = "manifest.json", "data.safetensors"
MAX_MANIFEST_BYTES = 1_000_000  # 200 config values of 2,000 letters are 400 kB
MAX_PROBLEMS = 20  # lines of one message
UNMEASURED = "0" * 64  # the sha256 of a draft, which `write` replaces by the measured one


def inside(folder: Path, name: str) -> Path:
    """The path of a regular file in the folder itself. Raises FileNotFoundError, and ValueError for links, devices and folders.

    folder: with links resolved. A link that leaves the folder could expose any file of this machine.
    """
    path = folder / name
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{folder} has no {name}; a submission is {MANIFEST} and {DATA}, see `vddbench pack`")
    if Path(os.path.realpath(path)).parent != folder:  # unlike resolve(), never raises
        raise ValueError(f"{path} is a link that leaves its folder; allowed: a file of the folder, so copy it there")
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError(f"{path} is not a regular file; put the file itself there")
    return path


def data_file(folder: Path) -> Path:
    """The payload of a submission. Raises as `inside` does."""
    return inside(folder, DATA)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a submission. Raises ValueError with one line for each wrong field, OSError if it cannot be read."""
    path = inside(folder, MANIFEST)
    if (size := path.stat().st_size) > MAX_MANIFEST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; allowed: {MAX_MANIFEST_BYTES:,}; a manifest holds no data")
    with path.open("rb") as file:
        text = file.read(MAX_MANIFEST_BYTES + 1)
    try:
        parse_json(text, MAX_MANIFEST_BYTES)
    except ValueError as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(f"{path} is not valid JSON ({reason}); `vddbench schema` prints what it must hold") from error
    with readable_errors():
        return Manifest.model_validate_json(text)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Replaces pydantic's ValidationError for a Manifest by a ValueError with one line for each wrong field."""
    try:
        yield
    except ValidationError as error:
        raise ValueError("\n".join(_field_problems(error))) from error


def _field_problems(error: ValidationError) -> Iterator[str]:
    """At most MAX_PROBLEMS lines: the field, what is wrong, what was found."""
    problems = error.errors(include_url=False, include_context=False)
    for problem in problems[:MAX_PROBLEMS]:
        name = ".".join(str(part)[:80] for part in problem["loc"]) or "the whole"
        if problem["type"] == "extra_forbidden":
            yield f"{MANIFEST}: {lookup.unknown('field', name, list(Manifest.model_fields))}; remove it"
        elif problem["type"] == "missing":
            yield f"{MANIFEST}: field {name!r} is missing; `vddbench schema` prints what it must hold"
        else:
            yield f"{MANIFEST}: field {name!r}: {problem['msg']}; found {str(problem['input'])[:80]!r}"
    if len(problems) > MAX_PROBLEMS:
        yield f"{MANIFEST}: ... and {len(problems) - MAX_PROBLEMS} more"
