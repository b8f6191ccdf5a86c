"""Finds the labels of a file of clips: in a file of their own, beside the clips, or stated as sorted by class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from vddbench.spec import DatasetSpec, Task
from vddbench.submissions import known_formats
from vddbench.submissions.choosing import LABEL_NAMES, choose_labels, listing
from vddbench.submissions.conversion import Conversion
from vddbench.submissions.importers import Source, read_source
from vddbench.submissions.label_forms import by_class, from_names, in_order_of, labels_for, missing
from vddbench.submissions.layouts import Arranged, described


class Given(NamedTuple):
    """Labels as the user's files hold them."""

    labels: torch.Tensor
    texts: Mapping[str, list[str]]  # lists that may give the order of classes; {}: the labels are in the dataset's order


def stored_labels(
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
    given, texts = given_labels(file, key, conversion, spec, notes) or (None, file.texts)
    of_kernels = known_formats.keeps_labels_centred(source, file, conversion.labels)
    if arranged is None:
        if given is None or len(given) != len(file.tensors[key]) or (given.ndim == 2 and not given.is_floating_point()):
            return None  # [K, ipc] of K x ipc clips, perhaps
        return labels_for(given, len(given), spec, conversion.labels_as, notes, of_kernels=of_kernels)
    num_clips = len(arranged.values)
    if given is None:
        if arranged.decoder == "still" and arranged.has_class_axis and not (conversion.layout or conversion.decoder):
            shape = file.tensors[key].shape
            raise ValueError(
                f"{list(shape)}: clips of {shape[1]} frames instead of {spec.frames}, or {shape[1]} stills of each class. "
                f"Clips of another length are not changed: choose or interpolate {spec.frames} frames in your code. "
                f"Stills: --layout {arranged.layout}"
            )
        by_axis = arranged.has_class_axis and num_clips != spec.num_classes**2  # else nothing shows which axis has the classes
        if not (conversion.labels_by_class or by_axis):
            others = {name: tensor for name, tensor in file.tensors.items() if name != key}
            rest = f". Also in the file: {listing(others)}" if others else ""
            stills = ". Stills of a static-dynamic set: pack its motions, with --statics and --hallucinator"
            raise ValueError(missing(num_clips, source, task, spec) + rest + (stills if arranged.decoder == "still" else ""))
        stated = "as stated" if conversion.labels_by_class else f"from the axis of classes in {arranged.layout}"
        given = by_class(num_clips, spec, stated, notes)
        _not_read(file.tensors, key, num_clips, notes)
    elif conversion.labels_by_class:
        raise ValueError("--labels-by-class is for clips without labels, and there are labels; leave out one of the two")
    if len(given) != num_clips and arranged.has_class_axis:
        kind, shape = "stills" if arranged.decoder == "still" else "clips", file.tensors[key].shape
        length = f"the clips have {shape[1]} frames instead of {spec.frames}, or: " if kind == "stills" else ""
        raise ValueError(
            f"{length}{list(given.shape)} labels for {num_clips} {kind}: the shape was read with an axis of classes "
            f"({arranged.layout}). Clips of another length than T={spec.frames} look like this, too: choose or interpolate "
            f"{spec.frames} frames in your code. Or give a label for each of the {kind}, or state the order of the "
            "dimensions with --layout"
        )
    labels = labels_for(given, num_clips, spec, conversion.labels_as, notes, of_kernels=of_kernels)
    return in_order_of(texts, labels, spec, notes)


def given_labels(file: Source, clips_key: str, conversion: Conversion, spec: DatasetSpec, notes: list[str]) -> Given | None:
    """The labels as the user's files hold them: in a file of their own, or beside the clips. Returns None without labels."""
    where, key = conversion.labels, conversion.labels_key
    source = file if where is None else read_source(where)
    if named := [name for name in source.texts if (name == key if key else name.split(".")[-1] in {"", *LABEL_NAMES})]:
        return _from_names(named[0], source, where, spec, notes)
    name = choose_labels(source.tensors, key, clips_key if where is None else "")
    if name is None and where is not None:
        found = listing(source.tensors)
        if len(source.tensors) == 1 and all(tensor.numel() == 1 for tensor in source.tensors.values()):
            raise ValueError(f"{where} holds one number, not labels; allowed: one label for each clip, [N] or [N, K]")
        raise ValueError(f"which tensor of {where} holds the labels, [N] or [N, K]? Name it with --labels-key; found: {found}")
    if name is None:
        parent = clips_key.rpartition(".")[0]
        beside = [one for one in file.texts if one.rpartition(".")[0] == parent and one.rpartition(".")[2].isdecimal()]
        if len(beside) != 1 or len(file.texts[beside[0]]) != len(file.tensors[clips_key]):
            return None
        return _from_names(beside[0], file, None, spec, notes)
    notes.append(f"labels: {where or 'beside the clips'} {described(name, source.tensors[name])}")
    if key is None:
        _not_read(source.tensors, name, len(source.tensors[name]), notes)
    return Given(source.tensors[name], {**file.texts, **source.texts})


def _not_read(tensors: Mapping[str, torch.Tensor], used: str, num_labels: int, notes: list[str]) -> None:
    """Reports tensors beside `used` (labels, or clips without any) that have one entry for each clip: other labels, perhaps."""
    beside = {name: one for name, one in tensors.items() if name.rpartition(".")[0] == used.rpartition(".")[0] and name != used}
    if others := {name: one for name, one in beside.items() if one.ndim in {1, 2} and len(one) == num_labels}:
        notes.append(f"not read: {listing(others)}, which could be labels, too; --labels-key chooses")


def _from_names(name: str, source: Source, where: Path | None, spec: DatasetSpec, notes: list[str]) -> Given:
    """Labels that are a list of names of classes. name: of the list."""
    texts = source.texts[name]
    if all(text.isdecimal() for text in texts) and not set(texts) & set(spec.class_names):
        raise ValueError(f"labels {name!r} are numbers stored as text; save them as numbers, e.g. [int(x) for x in labels]")
    notes.append(f"labels: {where or 'beside the clips'} {name!r}, {len(texts)} names of classes")
    return Given(from_names(texts, spec, f"labels {name!r}"), {})
