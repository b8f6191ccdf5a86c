"""`vddbench pack`: turns clips of research code into a submission and reports how they were understood."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vddbench.data.store import Split
from vddbench.lookup import is_bundled
from vddbench.spec import NAME_PATTERN, DatasetSpec, Manifest, Task
from vddbench.submissions import appearance, known_formats, payload, ranges
from vddbench.submissions.check import contents_of, warnings_of
from vddbench.submissions.clip_folder import read_clip_folder
from vddbench.submissions.importers import LABEL_NAMES, Source, choose_clips, choose_labels, listing, read_source
from vddbench.submissions.label_forms import FORMS, by_class, from_names, in_order_of, labels_for, missing
from vddbench.submissions.layouts import LAYOUTS, Arranged, arrange, described, scaled
from vddbench.submissions.manifest import UNMEASURED, readable_errors
from vddbench.submissions.previews import write_sheet
from vddbench.submissions.quantise import quantise, storage_note
from vddbench.submissions.static_dynamic_files import static_dynamic_tensors
from vddbench.submissions.submission import spec_of
from vddbench.submissions.tensors import label_track
from vddbench.submissions.write import checked, same_bytes, save

STATIC_DYNAMIC = "static_dynamic"
DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
TENSOR = {"pixels": "clips", "still": "frames", "keyframes": "frames"}  # by decoder: the tensor that holds the pixels
SOURCE_FACTOR = 16  # limit of a source, in budgets: float64 clips take 8, other content may take 8 more
UNBUDGETED_SOURCE_BYTES = 64 * 10**9  # float32 clips of UCF101's 9,537 train videos are 23 GB


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """How a source is read and stored. Fields that are None are detected; if two readings fit, `pack` refuses to guess."""

    labels: Path | None = None  # a file of labels, if they are not beside the clips
    layout: str | None = None  # order of the dimensions, e.g. NCTHW
    value_range: str | None = None  # a name of ranges.READINGS, or MEAN,MEAN,MEAN/STD,STD,STD
    decoder: str | None = None  # pixels, still for one frame per clip, or static_dynamic
    dtype: str = "uint8"  # or float16, float32
    resize: bool = False  # scale frames of another size, which are refused otherwise
    drop_last_frame: bool = False  # store T - 1 frames of each clip (decoder keyframes), which makes room for soft labels
    clips_key: str | None = None  # names of the tensors in a file that holds several
    labels_key: str | None = None
    labels_by_class: bool = False  # without labels: the clips are sorted by class, equally many of each
    labels_as: str | None = None  # how rows of scores become labels: argmax, softmax or centred
    statics: Path | None = None  # for static_dynamic: the stills; the source has the motions
    hallucinator: Path | None = None  # for static_dynamic: the state dict of the convolution


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What only the author of a distilled set knows about it: fields of the manifest, and a setting of its `config`."""

    seed: int = 0  # the distillation's random seed
    title: str | None = None  # the method's name in tables, beside the identifier
    authors: tuple[str, ...] = ()
    paper: str = ""
    code: str = ""
    external_data: str = ""  # data used besides the task's train split, e.g. a pretrained teacher
    holdout: bool = False  # whether the validation videos were kept out of distilling
    learned_lr: float | None = None  # of the student, if the method learned it; only `evaluate --protocol sdd` uses it


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
    preview: str | Path | None = None,
) -> Packed:
    """Writes the submission `out/TASK/METHOD` from a .pt, .pth, .npy, .npz or .safetensors file, or from a folder of clips.

    spec: the dataset if it is neither prepared nor bundled. force: replace another submission in the same folder. preview: a
    PNG to write, with clips as a student sees them. Raises ValueError if the source can be read in two ways or the submission
    would be refused, FileNotFoundError, LookupError.
    """
    source, task = Path(source), Task.parse(str(task))
    _check_names(conversion, method)
    train = appearance.train_of(task.dataset) if spec is None else None
    spec = spec or spec_of(task.dataset)
    notes: list[str] = []
    tensors, decoder = _converted(source, task, spec, conversion, train, notes)
    with readable_errors():
        manifest = Manifest(
            method=method,
            task=task,
            decoder=decoder,
            labels=label_track(tensors),
            sha256=UNMEASURED,
            **_fields(declaration),
        )
    draft = checked(tensors, manifest, spec)
    if preview is not None:
        shown = write_sheet(draft.clip_set, spec, Path(preview))
        notes.append(f"preview: {preview}, the first clip of {shown} classes as a student sees it")
    path = save(Path(out), draft, force=force)
    size, budget = payload.num_bytes(tensors), task.budget_bytes(spec)
    notes.append(f"payload: {size:,} bytes" + (f", {size / budget:.2%} of the budget" if budget else ""))
    contents = contents_of(draft.clip_set, spec, train)
    notes.append(f"clips: {contents.appearance}; train split: {contents.train or 'not prepared here'}")
    warnings = warnings_of(contents, spec)
    if train is None and (warning := appearance.noise(contents.appearance, None)):
        warnings.append(warning)
    notes += [f"warning: {warning}" for warning in warnings]
    if same := same_bytes(Path(out), draft.manifest):
        notes.append(f"warning: {same}")
    return Packed(path, notes)


def _fields(declaration: Declaration) -> dict[str, Any]:
    """The fields of the manifest. A learned rate is a setting, under the name that `distill mtt` writes and sdd reads."""
    fields = dict(vars(declaration))
    rate = fields.pop("learned_lr")
    return fields if rate is None else {**fields, "config": {"learned_lr": rate}}


def _check_names(conversion: Conversion, method: str) -> None:
    for flag, value, allowed in (
        ("--decoder", conversion.decoder, (*LAYOUTS, STATIC_DYNAMIC)),
        ("--dtype", conversion.dtype, DTYPES),
        ("--labels-as", conversion.labels_as, FORMS),
    ):
        if value is not None and value not in allowed:
            raise ValueError(f"{flag} {value[:40]!r} is not one that pack writes; allowed: {', '.join(allowed)}")
    if conversion.value_range is not None:
        ranges.parse(conversion.value_range)
    if not re.fullmatch(NAME_PATTERN, method):
        raise ValueError(f"--method {method[:60]!r} cannot name a folder; allowed: at most 40 letters a-z, digits and _")
    if is_bundled(method):
        raise ValueError(
            f"{method!r} is the name of a bundled baseline, which tables compare others with; choose another --method"
        )


def _converted(
    source: Path, task: Task, spec: DatasetSpec, conversion: Conversion, train: Split | None, notes: list[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of the payload and the name of their decoder."""
    if conversion.decoder == STATIC_DYNAMIC or conversion.statics or conversion.hallucinator:
        if conversion.drop_last_frame or conversion.resize:
            flag = "--drop-last-frame" if conversion.drop_last_frame else "--resize"
            raise ValueError(f"{flag} is for clips; a static-dynamic set stores stills and motions for its network")
        where = conversion.labels
        tensors = static_dynamic_tensors(
            source,
            conversion.statics,
            conversion.hallucinator,
            spec,
            labels=None if where is None else _given_labels(Source({}, {}), "", conversion, task, spec, notes),
            limit_bytes=_limit_bytes(task, spec),
            value_range=conversion.value_range,
            labels_as=conversion.labels_as,
            dtype=DTYPES[conversion.dtype],
            notes=notes,
        )
        return tensors, STATIC_DYNAMIC
    if source.is_dir():
        stated = {"--labels": conversion.labels, "--labels-as": conversion.labels_as, "--range": conversion.value_range}
        if unused := [flag for flag, value in stated.items() if value is not None]:
            raise ValueError(
                f"{' and '.join(unused)}: not for folders, whose clips are 8-bit pictures and whose class folders are the "
                "labels. For other labels: save clips and labels as tensors"
            )
        clip_set = read_clip_folder(source, spec, _limit_bytes(task, spec), conversion.resize, notes)
        labels = labels_for(clip_set.labels, len(clip_set), spec, None, notes)
        tensors, decoder = _stored(clip_set.clips, "pixels", conversion, notes)
        return {**tensors, "labels": labels}, decoder
    return _of_tensors(source, task, spec, conversion, train, notes)


def _of_tensors(
    source: Path, task: Task, spec: DatasetSpec, conversion: Conversion, train: Split | None, notes: list[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The same for a file of tensors. Raises ValueError with the problems of the clips and of the labels, one line each."""
    file = read_source(source, _limit_bytes(task, spec))
    latents = known_formats.no_clips(source, file)
    try:
        key = choose_clips(file.tensors, conversion.clips_key, spec.num_classes)
    except ValueError as error:
        raise ValueError(latents or str(error)) from None
    notes.append(f"source: {source} {described(key, file.tensors[key])}")
    notes.append(known_formats.recognised(source, file, key, conversion.labels))
    arranged, problems = None, []
    try:
        arranged = arrange(file.tensors[key], spec, conversion.layout, conversion.decoder, conversion.resize, notes)
        if conversion.value_range is None and (why := known_formats.whitened(source, key)):
            raise ValueError(why)
        clips = ranges.to_255(arranged.values, conversion.value_range, notes, train)
        if conversion.resize:
            clips = scaled(clips, spec.size, notes)
    except ValueError as error:
        if arranged is None and latents:
            raise ValueError(latents) from None
        problems.append(str(error))
    try:
        labels = _labels(source, file, key, arranged, task, spec, conversion, notes)
    except ValueError as error:
        problems.append(str(error))
    if arranged is None or problems:
        raise ValueError("\n".join(problems))
    assert labels is not None
    tensors, decoder = _stored(clips, arranged.decoder, conversion, notes)
    return {**tensors, "labels": labels}, decoder


def _limit_bytes(task: Task, spec: DatasetSpec) -> int:
    """The most bytes that a source may hold."""
    budget = task.budget_bytes(spec)
    return UNBUDGETED_SOURCE_BYTES if budget is None else SOURCE_FACTOR * budget


def _labels(
    source: Path,
    file: Source,
    key: str,
    arranged: Arranged | None,
    task: Task,
    spec: DatasetSpec,
    conversion: Conversion,
    notes: list[str],
) -> torch.Tensor | None:
    """The labels as they are stored. arranged: the clips; None: they fit no layout, so fewer checks are possible."""
    given = _given_labels(file, key, conversion, task, spec, notes)
    of_kernels = known_formats.keeps_labels_centred(source, file, conversion.labels)
    if arranged is None:
        if given is None or len(given) != len(file.tensors[key]) or (given.ndim == 2 and not given.is_floating_point()):
            return None  # [K, ipc] of K x ipc clips, perhaps
        return labels_for(given, len(given), spec, conversion.labels_as, notes, of_kernels=of_kernels)
    num_clips = len(arranged.values)
    if given is None:
        by_axis = arranged.has_class_axis and num_clips != spec.num_classes**2  # else nothing shows which axis has the classes
        if not (conversion.labels_by_class or by_axis):
            others = {name: tensor for name, tensor in file.tensors.items() if name != key}
            rest = f". Also in the file: {listing(others)}" if others else ""
            stills = ". Stills of a static-dynamic set: pack its motions, with --statics and --hallucinator"
            raise ValueError(missing(num_clips, source, task, spec) + rest + (stills if arranged.decoder == "still" else ""))
        given = by_class(num_clips, spec, notes)
    elif conversion.labels_by_class:
        raise ValueError("--labels-by-class is for clips without labels, and there are labels; leave out one of the two")
    if len(given) != num_clips and arranged.has_class_axis:
        kind = "stills" if arranged.decoder == "still" else "clips"
        raise ValueError(
            f"{list(given.shape)} labels for {num_clips} {kind}: the shape was read with an axis of classes "
            f"({arranged.layout}). Clips of another length than T={spec.frames} look like this, too: choose or interpolate "
            f"{spec.frames} frames in your code. Or give a label for each of the {kind}, or state the order of the "
            "dimensions with --layout"
        )
    labels = labels_for(given, num_clips, spec, conversion.labels_as, notes, of_kernels=of_kernels)
    return in_order_of(file.texts, labels, spec, notes)


def _stored(clips: torch.Tensor, decoder: str, conversion: Conversion, notes: list[str]) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of clips [N, T, H, W, 3] or stills [N, H, W, 3] on the 0-255 scale, without labels, and their decoder."""
    if conversion.drop_last_frame:
        if decoder != "pixels":
            raise ValueError("--drop-last-frame is for clips; these are stills, of one frame each")
        clips, decoder = clips[:, :-1], "keyframes"
    stored = quantise(clips, DTYPES[conversion.dtype])
    notes.append(storage_note(clips, stored))
    tensors = {TENSOR[decoder]: stored.pop("pixels"), **stored}
    if decoder == "keyframes":
        tensors["times"] = torch.arange(clips.shape[1], dtype=torch.float16).repeat(len(clips), 1)  # exact up to 2,048
        notes.append(f"frames: the first {clips.shape[1]} of each clip; a student sees the last of these twice (keyframes)")
    return tensors, decoder


def _given_labels(
    file: Source, clips_key: str, conversion: Conversion, task: Task, spec: DatasetSpec, notes: list[str]
) -> torch.Tensor | None:
    """The labels as the user's files hold them: in a file of their own, or beside the clips. Returns None without labels."""
    where = conversion.labels
    source = file if where is None else read_source(where, _limit_bytes(task, spec))
    named = [name for name in source.texts if name.split(".")[-1] in LABEL_NAMES or name == conversion.labels_key]
    if named and conversion.labels_key in {None, named[0]}:
        notes.append(f"labels: {where or 'beside the clips'} {named[0]!r}, {len(source.texts[named[0]])} names of classes")
        return from_names(source.texts[named[0]], spec, f"labels {named[0]!r}")
    name = choose_labels(source.tensors, conversion.labels_key, clips_key if where is None else "")
    if name is None and where is not None:
        found = listing(source.tensors)
        raise ValueError(f"which tensor of {where} holds the labels, [N] or [N, K]? Name it with --labels-key; found: {found}")
    if name is None:
        return None
    notes.append(f"labels: {where or 'beside the clips'} {described(name, source.tensors[name])}")
    return source.tensors[name]
