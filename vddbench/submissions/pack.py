"""`vddbench pack`: turns a tensor of research code into a submission and reports how the tensor was understood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from vddbench.lookup import is_bundled
from vddbench.spec import DatasetSpec, Manifest, Task
from vddbench.submissions import payload
from vddbench.submissions.check import contents_of, warnings_of
from vddbench.submissions.importers import choose_clips, choose_labels, read_tensors
from vddbench.submissions.interpret import LAYOUTS, RANGES, arrange, described, labels_for, to_255
from vddbench.submissions.manifest import UNMEASURED, readable_errors
from vddbench.submissions.quantise import quantisation_error, quantise
from vddbench.submissions.submission import spec_of
from vddbench.submissions.tensors import label_track
from vddbench.submissions.write import checked, same_bytes, save

DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
TENSOR = {"pixels": "clips", "still": "frames"}  # by decoder: the tensor that holds the pixels
SOURCE_FACTOR = 16  # limit of a source, in budgets: float64 clips take 8, other content may take 8 more
UNBUDGETED_SOURCE_BYTES = 64 * 10**9  # float32 clips of UCF101's 9,537 train videos are 23 GB


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How a source is read and stored. Fields that are None are detected; if two readings fit, `pack` refuses to guess."""

    labels: Path | None = None  # a file of labels, if they are not beside the clips
    layout: str | None = None  # order of the dimensions, e.g. NCTHW
    value_range: str | None = None  # 0-255, 0-1, -1-1 or imagenet
    decoder: str | None = None  # pixels, or still for one frame per clip
    dtype: str = "uint8"  # or float16, float32
    clips_key: str | None = None  # names of the tensors in a file that holds several
    labels_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What only the author of a distilled set knows about it: the fields of the manifest with the same names."""

    seed: int = 0  # the distillation's random seed
    authors: tuple[str, ...] = ()
    paper: str = ""
    code: str = ""
    external_data: str = ""  # data used besides the task's train split, e.g. a pretrained teacher
    holdout: bool = False  # whether the validation videos were kept out of distilling


class Packed(NamedTuple):
    """A written submission and how its source was understood, converted and stored, one line each."""

    path: Path
    report: list[str]


def pack(
    source: str | Path,
    task: str | Task,
    method: str,
    *,
    conversion: Conversion = Conversion(),
    declaration: Declaration = Declaration(),
    out: str | Path = "submissions",
    spec: DatasetSpec | None = None,
    force: bool = False,
) -> Packed:
    """Writes the submission `out/TASK/METHOD` from a .pt, .pth, .npy, .npz or .safetensors file of clips and labels.

    spec: the dataset if it is neither prepared nor bundled. force: replace another submission in the same folder. Raises
    ValueError if the source can be read in two ways or the submission would be refused, FileNotFoundError, LookupError.
    """
    source, task = Path(source), Task.parse(str(task))
    _check_names(conversion, method)
    spec = spec or spec_of(task.dataset)
    notes: list[str] = []
    tensors, decoder = _converted(source, task, spec, conversion, notes)
    with readable_errors():
        manifest = Manifest(
            method=method,
            task=task,
            decoder=decoder,
            labels=label_track(tensors),
            sha256=UNMEASURED,
            **vars(declaration),
        )
    draft = checked(tensors, manifest, spec)
    path = save(Path(out), draft, force=force)
    size, budget = payload.num_bytes(tensors), task.budget_bytes(spec)
    notes.append(f"payload: {size:,} bytes" + (f", {size / budget:.2%} of the budget" if budget else ""))
    notes += [f"warning: {warning}" for warning in warnings_of(contents_of(draft.clip_set, spec), spec)]
    if same := same_bytes(Path(out), draft.manifest):
        notes.append(f"warning: {same}")
    return Packed(path, notes)


def _check_names(conversion: Conversion, method: str) -> None:
    for flag, value, allowed in (
        ("--range", conversion.value_range, RANGES),
        ("--decoder", conversion.decoder, LAYOUTS),
        ("--dtype", conversion.dtype, DTYPES),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"{flag} {value[:40]!r} is not one that pack writes; allowed: {', '.join(allowed)}")
    if is_bundled(method):
        raise ValueError(
            f"{method!r} is the name of a bundled baseline, which tables compare others with; choose another --method"
        )


def _converted(
    source: Path, task: Task, spec: DatasetSpec, conversion: Conversion, notes: list[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of the payload and the name of their decoder."""
    budget = task.budget_bytes(spec)
    limit = UNBUDGETED_SOURCE_BYTES if budget is None else SOURCE_FACTOR * budget
    tensors = read_tensors(source, limit)
    key = choose_clips(tensors, conversion.clips_key)
    notes.append(f"source: {source} {described(key, tensors[key])}")
    arranged = arrange(tensors.pop(key), spec, conversion.layout, conversion.decoder, notes)
    given = _given_labels(tensors, conversion, limit, notes)
    labels = labels_for(given, arranged, task, spec, notes)
    values = to_255(arranged.values, conversion.value_range, notes)
    stored = quantise(values, DTYPES[conversion.dtype])
    worst, mean = quantisation_error(values, stored)
    how = ", with a scale and offset per channel because values leave 0-255" if "scale" in stored else ""
    notes.append(f"stored: {conversion.dtype}{how}; quantisation error at most {worst:.3g}, mean {mean:.3g} of 255 grey levels")
    return {TENSOR[arranged.decoder]: stored.pop("pixels"), **stored, "labels": labels}, arranged.decoder


def _given_labels(beside: dict[str, torch.Tensor], conversion: Conversion, limit: int, notes: list[str]) -> torch.Tensor | None:
    """The labels as the user's files hold them: in a file of their own, or beside the clips. Returns None without labels."""
    file = conversion.labels
    tensors = beside if file is None else read_tensors(file, limit)
    name = choose_labels(tensors, conversion.labels_key)
    if name is None and file is not None:
        raise ValueError(f"{file} holds no labels [N] or [N, K]; name them with --labels-key")
    if name is None:
        notes += [f"not used: {described(key, t)}; if these are the labels: --labels-key" for key, t in tensors.items()]
        return None
    notes.append(f"labels: {file or 'beside the clips'} {described(name, tensors[name])}")
    return tensors[name]
