"""Reads stills, motions and a hallucinator, as released code of static-dynamic methods saves them (arXiv 2312.00362).

| file | option | content |
|---|---|---|
| `dynamic_best.pt` | the source | [K*Q, T, 1, H, W], in units of the network |
| `sta.pt` | `--statics` | [K*P, 3, H, W], normalised |
| `weights_best.pt`, `hal_100.pt` | `--hallucinator` | state dict of the convolution: [3, 4, 3, 3, 3] and [3] |

Stills and motions are sorted by class: the format has no labels. Slots are those of the released code:

* DM and MTT: 2 stills and 2 motions that follow each other are a slot, which decodes to 4 pairs.
* FRePo saves [K, Q, T, 1, H, W] and a file of labels: still i, motion i and label i are a slot of one clip.
* Other numbers of stills than of motions: a class is one slot, with all pairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from vddbench.spec import DatasetSpec
from vddbench.submissions.choosing import choose_clips, listing
from vddbench.submissions.decoders.static_dynamic import decode, every_pair
from vddbench.submissions.importers import read_source
from vddbench.submissions.label_forms import labels_for
from vddbench.submissions.layouts import described
from vddbench.submissions.payload import dtype_name
from vddbench.submissions.quantise import quantise, storage_note, stored_motions
from vddbench.submissions.ranges import READINGS, is_possible, value_range_of

WEIGHT, BIAS = (3, 4, 3, 3, 3), (3,)
RANGE = "imagenet"
MEASURED = 16  # slots that are decoded twice to report the error of storing them


def static_dynamic_tensors(
    dynamics: Path,
    statics: Path | None,
    hallucinator: Path | None,
    spec: DatasetSpec,
    *,
    labels: torch.Tensor | None,
    value_range: str | None,
    labels_as: str | None,
    dtype: torch.dtype,
    notes: list[str],
) -> dict[str, torch.Tensor]:
    """The tensors of the decoder `static_dynamic` from three files.

    value_range: of the stills: None or imagenet, because the hallucinator reads stills normalised with ImageNet's numbers.
    labels: one for each still and motion, as FRePo has them; None: sorted by class.

    Raises ValueError if a file is missing or its shapes do not fit the dataset, FileNotFoundError.
    """
    if statics is None or hallucinator is None:
        raise ValueError(
            "a static-dynamic set needs three files: pack DYNAMICS --statics FILE --hallucinator FILE --decoder "
            "static_dynamic, e.g. dynamic_best.pt, sta.pt and weights_best.pt"
        )
    if value_range not in {None, RANGE}:
        raise ValueError(
            f"--range {value_range[:60]}: the stills of a static-dynamic set are read by its network, which learned on clips "
            f"that the released code normalises with ImageNet's numbers; leave out --range (or give {RANGE})"
        )
    size, frames, classes = spec.size, spec.frames, spec.num_classes
    motions = _by_class(dynamics, (frames, 1, size, size), classes, notes, has_labels=labels is not None)
    stills = _by_class(statics, (3, size, size), classes, notes)
    weight, bias = _convolution(hallucinator)
    value_range_of(motions)
    stills_per_slot, motions_per_slot = _per_slot(stills.shape[1], motions.shape[1], labels is not None)
    pairs, per_class = stills_per_slot * motions_per_slot, stills.shape[1] // stills_per_slot
    notes.append(
        f"recognised: static-dynamic set, kept as stills, motions and hallucinator; slots per class: {per_class}; clips "
        f"of a slot, stills x motions: {stills_per_slot} x {motions_per_slot} = {pairs}"
    )
    if labels is None:
        notes.append(f"labels: by class, as the format has it: class 0 ({spec.class_names[0]}) first, then class 1, ...")
        labels = torch.arange(classes).repeat_interleave(per_class * pairs)
    stored_labels = labels_for(labels, classes * per_class * pairs, spec, labels_as, notes, of_kernels=True)
    stills = _slots(stills, stills_per_slot).movedim(2, -1)
    low, high = value_range_of(stills)
    if not is_possible(stills, RANGE):
        raise ValueError(
            f"{statics}: stills from {low:.4g} to {high:.4g} are not normalised with ImageNet's mean and standard deviation, "
            "as the network of a static-dynamic set reads them; save them as the network gets them"
        )
    notes.append(f"stills: {low:.4g} to {high:.4g}, taken as {RANGE}, as the network reads them")
    pixels = READINGS[RANGE].to_255(stills)
    stored_stills = quantise(pixels, dtype)
    notes.append(f"stills {storage_note(pixels, stored_stills)}")
    exact_motions = _slots(motions, motions_per_slot).movedim(3, -1).float()
    tensors = {
        "statics": stored_stills.pop("pixels"),
        **{f"static_{name}": value for name, value in stored_stills.items()},
        **stored_motions(exact_motions, dtype),
        "hallucinator_weight": weight,
        "hallucinator_bias": bias,
        "labels": stored_labels,
    }
    low, high = value_range_of(motions)
    step = f" in 256 steps of {(high - low) / 255:.3g}" if dtype == torch.uint8 else ""
    notes.append(f"motions: {low:.4g} to {high:.4g}, stored as {dtype_name(dtype)}{step}")
    notes.append(_decoded_error(tensors, pixels, exact_motions, spec))
    return tensors


def _decoded_error(tensors: Mapping[str, torch.Tensor], stills: torch.Tensor, motions: torch.Tensor, spec: DatasetSpec) -> str:
    """One line of the report: how far the first slots move because stills and motions are stored in fewer bits."""
    exact = every_pair(
        stills[:MEASURED], motions[:MEASURED], tensors["hallucinator_weight"], tensors["hallucinator_bias"], spec
    )
    first = {**tensors, **{name: tensors[name][:MEASURED] for name in ("statics", "dynamics")}}
    error = (decode({**first, "labels": tensors["labels"][: len(exact)]}, spec).clips - exact).abs()
    return (
        f"decoded clips of {min(MEASURED, len(stills))} slots: error of storing stills and motions at most "
        f"{float(error.max()):.3g}, mean {float(error.mean()):.3g} of 255 grey levels"
    )


def _per_slot(stills: int, motions: int, has_labels: bool) -> tuple[int, int]:
    """The stills and the motions of a slot, from their numbers per class."""
    if has_labels and stills != motions:
        raise ValueError(
            f"{stills} stills and {motions} motions per class, with labels: allowed are equally many, of which still i, motion "
            "i and label i make one clip (FRePo); without --labels the set is taken as sorted by class"
        )
    if has_labels or stills == motions == 1:
        return 1, 1
    return (2, 2) if stills == motions and stills % 2 == 0 else (stills, motions)


def _slots(by_class: torch.Tensor, per_slot: int) -> torch.Tensor:
    """[K, n, ...] as [S, per_slot, ...]."""
    return by_class.reshape(-1, per_slot, *by_class.shape[2:])


def _by_class(path: Path, shape: tuple[int, ...], classes: int, notes: list[str], has_labels: bool = False) -> torch.Tensor:
    """The clips' tensor of a file, [K*n, ...] as [K, n, ...]. FRePo, which saves labels, has the axis of classes."""
    tensors = read_source(path).tensors
    try:
        name = choose_clips(tensors, None, classes)
    except ValueError:  # its advice, --clips-key, is for files of clips
        raise ValueError(
            f"{path}: which tensor is meant? Save only the stills or motions there; found: {listing(tensors)}"
        ) from None
    tensor = tensors[name]
    notes.append(f"source: {path} {described(name, tensor)}")
    if has_labels and tensor.ndim == len(shape) + 2:
        tensor = tensor.flatten(0, 1)
    if tuple(tensor.shape[1:]) != shape or len(tensor) % classes or not len(tensor) or not tensor.is_floating_point():
        also = "; [K, n, ...], as FRePo saves motions, needs --labels y_syn_N.pt" if tensor.ndim == len(shape) + 2 else ""
        raise ValueError(
            f"{path} holds {described(name, tensor)}; allowed: floats [n*{classes}, "
            f"{', '.join(map(str, shape))}], sorted by class{also}"
        )
    return tensor.reshape(classes, -1, *shape)


def _convolution(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = read_source(path).tensors
    weights, biases = _of_shape(tensors, WEIGHT), _of_shape(tensors, BIAS)
    if len(weights) != 1 or len(biases) != 1:
        raise ValueError(
            f"{path} holds no single convolution {list(WEIGHT)} with a bias {list(BIAS)}: {listing(tensors)}; the decoder has "
            "one hallucinator for all classes"
        )
    return weights[0].float().contiguous(), biases[0].float().contiguous()


def _of_shape(tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]) -> list[torch.Tensor]:
    return [tensor for tensor in tensors.values() if tuple(tensor.shape) == shape]
