"""Which tensors of a file are the clips and which the labels: by name, by shape, or as `--clips-key` and `--labels-key` say."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch

CLIP_NAMES = {"clips", "clip", "images", "image", "image_syn", "images_syn", "syn_images", "videos", "video", "data", "syn"}
LABEL_NAMES = {"labels", "label", "label_syn", "labels_syn", "syn_labels", "targets", "target", "y", "y_syn"}
REPETITION = re.compile(r"(?:.*\.)?\d+\.0")


def choose_clips(tensors: Mapping[str, torch.Tensor], key: str | None, num_classes: int) -> str:
    """The name of the clips: the key if given, else the only tensor of 4 to 6 dimensions, else the only one named like clips.

    Raises ValueError if that is not clear. num_classes: of the dataset; as many tensors without labels may be one per class.
    """
    if key is not None:
        return _named(tensors, key, "--clips-key")
    large = names_of_clips(tensors)
    like_clips = [name for name in large if name.split(".")[-1] in CLIP_NAMES]
    for candidates in (large, like_clips):
        if len(candidates) == 1:
            return candidates[0]
    if not large:
        raise ValueError(f"no tensor has the 4 to 6 dimensions of clips or stills; found: {listing(tensors)}")
    if len(large) == num_classes and not any(1 <= tensor.ndim <= 2 for tensor in tensors.values()):
        raise ValueError(
            f"the file holds {len(large)} tensors and no labels, and the dataset has {num_classes} classes: one tensor per "
            "class? Then join them in the order of the sorted class names, torch.save(torch.cat([...]), 'syn.pt') (torch.stack "
            "if each is a single clip), and pack that with --labels-by-class if all have equally many clips, otherwise with "
            f"--labels FILE. If only one of them is the set, name it with --clips-key; found: {listing(tensors)}"
        )
    by_class = ". If each of them holds the clips of one class, join them first: torch.cat"
    if len(names_of_repetitions(tensors)) == len(large):
        raise ValueError(
            f"the file holds {len(large)} repetitions of [clips, labels]: which one? `--clips-key {large[0][:60]}` packs the "
            f"first, with its labels; found: {listing({name: tensors[name] for name in large})}{by_class}"
        )
    raise ValueError(f"which tensor holds the clips? Name it with --clips-key; found: {listing(tensors)}{by_class}")


def names_of_clips(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the tensors that can be clips or frames."""
    return [name for name, tensor in tensors.items() if 4 <= tensor.ndim <= 6]


def names_of_repetitions(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of the clips in lists of [clips, labels], e.g. `data.3.0`, which has its labels in `data.3.1`."""
    return [name for name in names_of_clips(tensors) if REPETITION.fullmatch(name) and f"{name[:-1]}1" in tensors]


def choose_labels(tensors: Mapping[str, torch.Tensor], key: str | None, clips_key: str = "") -> str | None:
    """The name of the labels: the key if given, else the one named like labels, else the only unnamed one, else None.

    Of several, those in the same list or dict as the clips count (`data.3.1` for the clips `data.3.0`), or those of the same
    number in a list beside theirs (`label_syn.1` for `image_syn.1`). Raises ValueError if several are named like labels.
    """
    if key is not None:
        return _named(tensors, key, "--labels-key")
    small = [name for name, tensor in tensors.items() if 1 <= tensor.ndim <= 2]
    parent, _, index = clips_key.rpartition(".")
    place = parent.rpartition(".")[0]
    beside = [name for word in LABEL_NAMES if (name := f"{place}.{word}.{index}".lstrip(".")) in small]
    if len(beside) == 1:
        return beside[0]
    small = [name for name in small if parent and name.rpartition(".")[0] == parent] or small
    like_labels = [name for name in small if name.split(".")[-1] in LABEL_NAMES]
    if len(like_labels) > 1:
        raise ValueError(f"which tensor holds the labels? Name it with --labels-key; found: {listing(tensors)}")
    unnamed = [name for name in small if name.split(".")[-1].isdecimal() or not name]
    return like_labels[0] if like_labels else unnamed[0] if len(unnamed) == 1 else None


def _named(tensors: Mapping[str, torch.Tensor], key: str, flag: str) -> str:
    if key not in tensors:
        raise ValueError(f"{flag} {key[:80]!r} is not in the file; found: {listing(tensors)}")
    if not tensors[key].ndim:
        raise ValueError(f"{flag} {key[:80]!r} is a single number; found: {listing(tensors)}")
    return key


def named(name: str) -> str:
    """The name of a tensor, for messages."""
    return repr(name[:60]) if name else "a tensor without a name"


def listing(tensors: Mapping[str, torch.Tensor]) -> str:
    """The names and shapes of at most 20 tensors, for messages."""
    shown = [f"{named(name)} {list(tensor.shape)}" for name, tensor in list(tensors.items())[:20]]
    return ", ".join(shown) + (f" and {len(tensors) - 20} more" if len(tensors) > 20 else "")
