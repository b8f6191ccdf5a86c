"""`vddbench pack`: turns clips of research code into a submission and reports how they were understood."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vddbench.data.store import Split
from vddbench.spec import NAME_PATTERN, DatasetSpec, Manifest, Task
from vddbench.submissions import appearance, known_formats, payload, ranges
from vddbench.submissions.check import contents_of, warnings_of
from vddbench.submissions.choosing import choose_clips, named, names_of_clips
from vddbench.submissions.clip_folder import read_clip_folder
from vddbench.submissions.conversion import Conversion, Declaration
from vddbench.submissions.file_labels import given_labels, stored_labels
from vddbench.submissions.importers import Source, read_source
from vddbench.submissions.label_forms import FORMS, labels_for, some
from vddbench.submissions.layouts import LAYOUTS, arrange, described, scaled
from vddbench.submissions.manifest import UNMEASURED, readable_errors
from vddbench.submissions.method_names import taken_by_tables
from vddbench.submissions.previews import write_sheet
from vddbench.submissions.quantise import quantise, storage_note
from vddbench.submissions.static_dynamic_files import static_dynamic_tensors
from vddbench.submissions.submission import spec_of
from vddbench.submissions.tensors import label_track
from vddbench.submissions.write import checked, same_bytes, save

STATIC_DYNAMIC = "static_dynamic"
DTYPES = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}
TENSOR = {"pixels": "clips", "still": "frames", "keyframes": "frames"}  # by decoder: the tensor that holds the pixels


class Packed(NamedTuple):
    """A written submission and how its source was understood, converted and stored, one line each."""

    path: Path
    report: list[str]


def pack(
    source: str | Path,
    task: str | Task,
    method: str,
    *,
    conversion: Conversion = Conversion(),  # noqa: B008 - frozen
    declaration: Declaration = Declaration(),  # noqa: B008 - frozen
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
    _check_names(conversion, declaration, method)
    train = appearance.train_of(task.dataset) if spec is None else None
    spec = spec or spec_of(task.dataset)
    notes: list[str] = []
    tensors, decoder = _converted(source, task, spec, conversion, train, notes)
    notes += _learned_lr(source, declaration)
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


def _learned_lr(source: Path, declaration: Declaration) -> list[str]:
    """The lines of the report about a learned learning rate: the one that is kept, or a file beside the source."""
    if declaration.learned_lr is not None:
        return [f"learned_lr: {declaration.learned_lr:g}, kept in the manifest; only `evaluate --protocol sdd` uses it"]
    file = source.parent / "lr.pt"
    return [f"not read: {file}; if it holds a learning rate for the student: --learned-lr keeps it"] if file.is_file() else []


def _check_names(conversion: Conversion, declaration: Declaration, method: str) -> None:
    for flag, link in (("--paper", declaration.paper), ("--code", declaration.code)):
        if link and not link.startswith("https://"):
            raise ValueError(f"{flag} {link[:60]!r} is not a link; allowed: https://...")
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
        raise ValueError(
            f"--method {method[:60]!r} cannot name a folder; allowed: at most 40 lower-case letters a-z, digits, _"
        )
    if problem := taken_by_tables(method):
        raise ValueError(f"--method: {problem}")


def _converted(
    source: Path, task: Task, spec: DatasetSpec, conversion: Conversion, train: Split | None, notes: list[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of the payload and the name of their decoder."""
    stated: dict[str, object]
    if conversion.decoder == STATIC_DYNAMIC or conversion.statics or conversion.hallucinator:
        is_labelled = conversion.labels is not None
        stated = {"--drop-last-frame": conversion.drop_last_frame, "--resize": conversion.resize, "--layout": conversion.layout}
        stated |= {"--clips-key": conversion.clips_key, "--labels-key": None if is_labelled else conversion.labels_key}
        stated |= {"--labels-by-class": conversion.labels_by_class}
        if unused := [flag for flag, value in stated.items() if value]:
            raise ValueError(
                f"{' and '.join(unused)}: not for a static-dynamic set, whose files hold stills and motions for its network in "
                "one known layout, sorted by class unless --labels is given"
            )
        given = given_labels(Source({}, {}), "", conversion, spec, notes) if is_labelled else None
        tensors = static_dynamic_tensors(
            source,
            conversion.statics,
            conversion.hallucinator,
            spec,
            labels=given.labels if given else None,
            value_range=conversion.value_range,
            labels_as=conversion.labels_as,
            dtype=DTYPES[conversion.dtype],
            notes=notes,
        )
        return tensors, STATIC_DYNAMIC
    if source.is_dir():
        stated = {"--labels": conversion.labels, "--labels-as": conversion.labels_as, "--range": conversion.value_range}
        stated |= {"--layout": conversion.layout, "--decoder": None if conversion.decoder == "pixels" else conversion.decoder}
        stated |= {"--clips-key": conversion.clips_key, "--labels-key": conversion.labels_key}
        stated |= {"--labels-by-class": conversion.labels_by_class or None}
        if unused := [flag for flag, value in stated.items() if value is not None]:
            raise ValueError(
                f"{' and '.join(unused)}: not for folders, whose clips are 8-bit pictures and whose class folders are the "
                "labels. For other labels, or for stills: save clips and labels as tensors"
            )
        clip_set = read_clip_folder(source, spec, conversion.resize, notes)
        labels = labels_for(clip_set.labels, len(clip_set), spec, None, notes)
        tensors, decoder = _stored(clip_set.clips, "pixels", conversion, notes)
        return {**tensors, "labels": labels}, decoder
    return _of_tensors(source, task, spec, conversion, train, notes)


def _of_tensors(
    source: Path, task: Task, spec: DatasetSpec, conversion: Conversion, train: Split | None, notes: list[str]
) -> tuple[dict[str, torch.Tensor], str]:
    """The same for a file of tensors. Raises ValueError with the problems of the clips and of the labels, one line each."""
    file = read_source(source)
    latents = known_formats.no_clips(source, file)
    try:
        key = choose_clips(file.tensors, conversion.clips_key, spec.num_classes)
    except ValueError as error:
        raise ValueError(latents or str(error)) from None
    notes.append(f"source: {source} {described(key, file.tensors[key])}")
    if conversion.clips_key is None and (others := [name for name in names_of_clips(file.tensors) if name != key]):
        notes.append(f"not read: {some([named(name) for name in others])}, which could be clips, too; --clips-key chooses")
    notes.append(known := known_formats.recognised(source, file, key, conversion.labels))
    arranged, problems = None, []
    try:
        stated = (conversion.layout, conversion.decoder, conversion.resize)
        arranged = arrange(file.tensors[key], spec, *stated, notes, by_class=conversion.labels_by_class)
        if conversion.value_range is None and (why := known_formats.whitened(source, key)):
            raise ValueError(why)
        clips = ranges.to_255(arranged.values, conversion.value_range, notes, train)
        if conversion.resize:
            clips = scaled(clips, spec.size, notes)
    except ranges.Unclear as error:
        problems.append(str(error) + known_formats.usual_range(known, error.possible))
    except ValueError as error:
        if arranged is None and latents:
            raise ValueError(latents) from None
        problems.append(str(error))
    try:
        labels = stored_labels(source, file, key, arranged, task, spec, conversion, notes)
    except ValueError as error:
        problems.append(str(error))
    if arranged is None or problems:
        raise ValueError("\n".join(problems))
    assert labels is not None
    tensors, decoder = _stored(clips, arranged.decoder, conversion, notes)
    return {**tensors, "labels": labels}, decoder


def _stored(clips: torch.Tensor, decoder: str, conversion: Conversion, notes: list[str]) -> tuple[dict[str, torch.Tensor], str]:
    """The tensors of clips [N, T, H, W, 3] or stills [N, H, W, 3] on the 0-255 scale, without labels, and their decoder."""
    if conversion.drop_last_frame:
        if decoder != "pixels":
            raise ValueError("--drop-last-frame is for clips; these are stills, of one frame each")
        clips, decoder = clips[:, :-1], "keyframes"
    stored = quantise(clips, DTYPES[conversion.dtype])
    notes.append(storage_note(clips, stored))
    notes.append(f"decoder: {decoder}")
    tensors = {TENSOR[decoder]: stored.pop("pixels"), **stored}
    if decoder == "keyframes":
        tensors["times"] = torch.arange(clips.shape[1], dtype=torch.float16).repeat(len(clips), 1)  # exact up to 2,048
        notes.append(f"frames: the first {clips.shape[1]} of each clip; a student sees the last of these twice (keyframes)")
    return tensors, decoder
