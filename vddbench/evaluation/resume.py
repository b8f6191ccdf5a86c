"""The checkpoint file from which an interrupted student or distillation resumes.

A checkpoint is one safetensors file, always replaced as a whole. Its metadata holds two JSON objects: `identity`, which must
match to resume, and `progress`. It is read without pickle, so resuming runs no code from the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vddbench.system.files import parse_json, write_whole

FORMAT = 3  # version of the file and of what students and distillers store in it
MAX_BYTES = 64 * 10**9  # ipc 10 on UCF101 with Adam's two moments takes 7.3 GB
MAX_METADATA_BYTES = 5 * 10**7  # per JSON object; a loss and a score after each of 100,000 iterations take 6 MB
DIFFERENCES_SHOWN = 5
P = TypeVar("P", bound=BaseModel)


class DamagedCheckpoint(ValueError):
    """The file is not a whole checkpoint of this format."""


class OtherCheckpoint(ValueError):
    """The file is a checkpoint of something else: its identity differs."""


class Saved(NamedTuple, Generic[P]):
    """The content of a checkpoint."""

    progress: P
    tensors: dict[str, torch.Tensor]


class Checkpoint:
    """The file at `path`, for whatever `identity` describes."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """identity: values that JSON can hold."""
        self.path = path
        self.identity: dict[str, Any] = json.loads(json.dumps({"format": FORMAT, **identity}))  # as it is after reading a file

    def write(self, progress: BaseModel, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces the file. Raises OSError, and leaves the file as it was, if it cannot be written."""
        metadata = {"identity": json.dumps(self.identity), "progress": progress.model_dump_json()}
        content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, metadata)
        write_whole(self.path, content)

    def read(self, kind: type[P]) -> Saved[P] | None:
        """The progress, as an object of `kind`, and the tensors that were saved; None if the file does not exist.

        Raises DamagedCheckpoint, OtherCheckpoint, OSError.
        """
        try:
            metadata, tensors = _contents(self.path)
            identity = parse_json(metadata["identity"].encode(), MAX_METADATA_BYTES)
            if not isinstance(identity, dict):
                raise TypeError("its identity is not a JSON object")
            self._check(identity)
            return Saved(kind.model_validate(parse_json(metadata["progress"].encode(), MAX_METADATA_BYTES)), tensors)
        except FileNotFoundError:
            return None
        except OtherCheckpoint:
            raise
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise DamagedCheckpoint(f"{self.path} is damaged ({reason})") from error

    def remove(self) -> None:
        """Deletes the file, and temporary files of processes that were killed while they wrote it."""
        for path in [self.path, *self.path.parent.glob(f".{self.path.name}.*.part")]:
            path.unlink(missing_ok=True)

    def _check(self, identity: Mapping[str, Any]) -> None:
        differences = [
            f"{name} {_shown(identity.get(name))} (now {_shown(self.identity.get(name))})"
            for name in sorted({**identity, **self.identity})
            if identity.get(name) != self.identity.get(name)
        ]
        if differences:
            raise OtherCheckpoint(f"{self.path} was saved under other settings: {'; '.join(differences[:DIFFERENCES_SHOWN])}")


def _contents(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """The metadata and the tensors of a safetensors file."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"it has {size:,} bytes; at most {MAX_BYTES:,} are read")
    with safe_open(path, "pt") as file:
        return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 45 else f"{text[:40]}…"  # a commit has 40 digits
