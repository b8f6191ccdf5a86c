"""The types that move between rooms. Read this first.

Shapes everywhere: N clips, T frames, H = W = size pixels, C = 3 colours (RGB), K classes. Clips are [N, T, H, W, C] on the
0-255 scale on disk and between rooms. Accuracies are in [0, 1]; MB = 10^6 bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)

if TYPE_CHECKING:
    import torch

NAME_PATTERN = r"^[a-z0-9][a-z0-9_]{0,39}$"  # datasets, methods, students, decoders: safe as a folder, a module, a URL
TASK_PATTERN = r"([a-z0-9][a-z0-9_]{0,39})-(?:ipc(-?[0-9]{1,9})|full)"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=2000)]
Fingerprint = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}:[A-Za-z0-9+/]{342}==$")]  # data/fingerprint.py
IPCS = (1, 5, 10)  # the budgets of published methods (2312.00362, table 1)
FULL = "full"  # the unbudgeted task of a dataset, and the method that trains on all of its videos
DIVISIONS = ("ipc", "open")  # of the ranking: leaderboard/divisions.py
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # part of the protocol; torchvision's constants, RGB on the 0-1 scale
IMAGENET_STD = (0.229, 0.224, 0.225)


class Frozen(BaseModel):
    """A value that is written as JSON: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings", defer_build=True)


def without_none(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The serialised fields of a model, without the named fields that are None."""
    return {name: value for name, value in fields.items() if value is not None or name not in names}


class DatasetSpec(Frozen):
    """The description of a prepared store. The store keeps it in `spec.json`, so that it describes itself."""

    class_names: Annotated[tuple[str, ...], Field(min_length=2, max_length=10_000)]  # sorted; the label is the index
    frames: Annotated[int, Field(ge=1, le=256)]  # T of a clip
    size: Annotated[int, Field(ge=8, le=512)]  # H = W of a clip, pixels
    stride: Annotated[int, Field(ge=1, le=1000)] | Literal["even"]  # frames between stored frames; "even": T, evenly spaced
    resize: tuple[int, int] | None  # (w, h) before the centre crop; None: short side to `size`
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    hflip_keeps_label: bool  # may a distiller mirror clips?
    num_videos: dict[Literal["train", "test"], int] | None  # pinned counts; None: whatever the folder holds
    num_missing: dict[Literal["train", "test"], int] | None = None  # missing or unreadable ones; None: none are allowed
    validation_groups: tuple[str, ...]  # groups of *train* to tune on; (): a pinned fifth of each class
    student_steps: dict[str, int]  # SGD steps by budget: keys "1", "5", "10", "full"
    source: Text
    licence: Text
    origin: Text | None = None  # the Hub repo and commit of the videos; None: local files. No digest covers it

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out unused fields, so that a field that is added later does not change the digest of stores without it."""
        return without_none(serialize(self), "num_missing", "origin")

    def from_anywhere(self) -> DatasetSpec:
        """The spec without `origin`, for digests: the same videos give the same store wherever they were read from."""
        return self.model_copy(update={"origin": None})

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        return (self.frames, self.size, self.size, 3)  # [T, H, W, C]

    @property
    def clip_bytes(self) -> int:
        """Bytes of one uint8 clip."""
        return self.frames * self.size * self.size * 3


@dataclass(frozen=True, kw_only=True)
class Task:
    """A dataset and a storage budget; tables never mix tasks. `ipc=None` is the unbudgeted `DATASET-full`."""

    dataset: str
    ipc: int | None

    def __str__(self) -> str:
        return f"{self.dataset}-{FULL}" if self.ipc is None else f"{self.dataset}-ipc{self.ipc}"

    def __lt__(self, other: Task) -> bool:
        """Sorts by dataset, then ipc; the unbudgeted task comes first."""
        return (self.dataset, self.ipc or 0) < (other.dataset, other.ipc or 0)

    @property
    def is_full(self) -> bool:
        return self.ipc is None

    @classmethod
    def parse(cls, text: str) -> Task:
        """`miniucf-ipc1` -> Task. Raises ValueError naming the allowed form."""
        match = re.fullmatch(TASK_PATTERN, text)
        if not match:
            raise ValueError(f"task {text[:80]!r} is not DATASET-ipcN or DATASET-full, e.g. miniucf-ipc1")
        if match[2] is not None and match[2] not in {str(i) for i in IPCS}:  # as text: "01" would be a second name of ipc 1
            allowed = ", ".join(f"{match[1]}-ipc{i}" for i in IPCS)
            raise ValueError(f"task {text[:80]!r}: ipc {match[2]} is not a budget of this benchmark; use {allowed}")
        return cls(dataset=match[1], ipc=None if match[2] is None else int(match[2]))

    def budget_bytes(self, spec: DatasetSpec) -> int | None:
        """The bytes of ipc uint8 clips per class and their int64 labels; None if the task has no budget."""
        return None if self.ipc is None else self.ipc * spec.num_classes * (spec.clip_bytes + 8)

    def divisions(self, clips_per_class: float) -> tuple[str, ...]:
        """The divisions that rank a set which decodes to so many clips per class; () if the task has no budget."""
        if self.ipc is None:
            return ()
        return DIVISIONS if clips_per_class <= self.ipc else DIVISIONS[1:]

    def student_steps(self, spec: DatasetSpec) -> int:
        return spec.student_steps[FULL if self.ipc is None else str(self.ipc)]

    def batch_size(self, spec: DatasetSpec, num_clips: int, recipe: Recipe) -> int:
        """min(256, ipc*K, N), as the protocol says: more clips never get more compute, fewer than ipc*K clips get less."""
        slots = num_clips if self.ipc is None else self.ipc * spec.num_classes
        return min(recipe.max_batch, slots, num_clips)


TaskText = Annotated[  # a Task that JSON holds as text
    Task,
    PlainValidator(lambda value: value if isinstance(value, Task) else Task.parse(str(value))),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": f"^{TASK_PATTERN}$", "examples": ["miniucf-ipc1", "miniucf-full"]}),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A source video of a dataset, before decoding."""

    id: str
    path: Path | None  # a file, or a folder of frames; None: a listed video that is missing, or a procedural one
    label: int
    split: Literal["train", "test"]
    group: str = ""  # shared by the videos of one scene or person; "": the video belongs to no group


@dataclass(frozen=True, kw_only=True)
class ClipSet:
    """Clips and their labels: what a distiller returns and a student is trained on.

    clips: [N, T, H, W, C] uint8, or float on the same 0-255 scale. labels: [N] int64, or [N, K] float32 rows summing to 1.
    """

    clips: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return int(self.clips.shape[0])


class Payload(Frozen):
    """The place of a payload that is too large for git."""

    url: Annotated[str, StringConstraints(pattern=r"^https://", max_length=500)]
    revision: Annotated[str, StringConstraints(max_length=100)]


MOST = 2**53  # largest integer accepted from strangers: floats and table columns hold it exactly
Whole = Annotated[int, Field(ge=0, le=MOST)]
Short = Annotated[str, StringConstraints(max_length=200)]
Title = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 +_/()&'-]{0,59}$")]  # nothing that acts as a link
Link = Annotated[str, StringConstraints(pattern=r"^(https://\S*)?$", max_length=500)]
ConfigValue = None | bool | int | Annotated[float, Field(allow_inf_nan=False)] | Text
ConfigKey = Annotated[str, StringConstraints(max_length=100)]


def folder_of(method: str, seed: int) -> str:
    """The folder name of a submission: METHOD, or METHOD-sN for distillation seed N > 0."""
    return method if seed == 0 else f"{method}-s{seed}"


def cell_of(task: Task, folder: str, sha256: str) -> str:
    """The address of one submission below a folder of records or manifests: TASK/METHOD[-sN]@SHA8."""
    return f"{task}/{folder}@{sha256[:8]}"


class Manifest(Frozen):
    """The statements of a submission about itself. It is written last, so its presence means that the folder is complete."""

    format: Literal[1] = 1
    method: Name
    task: TaskText
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0  # distillation seed; the folder is METHOD, or METHOD-sN for seed N > 0
    decoder: Name
    labels: Literal["hard", "soft"]
    sha256: Sha256  # of data.safetensors; always compared with the file
    config: Annotated[dict[ConfigKey, ConfigValue], Field(max_length=200)] = {}
    title: Title | None = None  # the method's name in tables, beside the identifier: "DM+SDD"
    authors: Annotated[tuple[Short, ...], Field(max_length=100)] = ()
    paper: Link = ""
    code: Link = ""
    external_data: Text = ""  # pretrained weights and other data besides the task's train split; "": none
    holdout: bool = False  # True: not distilled from the validation videos (they may still choose the iteration: config)
    distill_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    distill_hardware: Text = ""
    distill_peak_memory_bytes: Whole | None = None  # on the GPU; on the CPU the peak of the process
    distill_clips_read: Whole | None = None  # number of times that a real clip was read
    store_digest: Sha256 | None = None  # of the prepared store that it was distilled from
    store_fingerprint: Fingerprint | None = None  # of the same store; other versions of FFmpeg hardly change it
    payload: Payload | None = None

    @property
    def folder(self) -> str:
        return folder_of(self.method, self.seed)

    @property
    def cell(self) -> str:
        return cell_of(self.task, self.folder, self.sha256)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A manifest and the tensors of its payload. Nothing in it is ever executed. Bytes are measured on the tensors."""

    path: Path
    manifest: Manifest
    tensors: Mapping[str, torch.Tensor]

    @property
    def payload_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.tensors.values())


class Recipe(Frozen):
    """How a student is trained. A submission cannot change it."""

    optimiser: Literal["sgd"] = "sgd"
    lr: float
    momentum: float = 0.9  # SDD evaluate_synset
    weight_decay: float = 5e-4  # SDD evaluate_synset
    lr_drop: float = 0.1  # lr is multiplied by this ...
    lr_drop_at: float = 0.5  # ... after this share of the steps
    max_batch: int = 256  # SDD
