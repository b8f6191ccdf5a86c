"""What other code bases save: names for the report of `pack`, and reasons why some files hold no clips (docs/packing.md)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vddbench.submissions.choosing import listing, names_of_repetitions
from vddbench.submissions.importers import Source

NOT_KNOWN = "code base: not recognised"
LATENTS = {"latent", "latents", "core", "cores", "factor", "factors", "z"}  # LVDD saves cores and factors
PICTURES = (".jpg", ".jpeg", ".png")
RDED = re.compile(r"class\d+_id\d+_t\d+", re.ASCII)  # class00003_id00000_t000.jpg
WHITENED = re.compile(r"(?<!no)(?<!no[_-])(?<![a-z])zca|whiten", re.IGNORECASE)


def recognised(source: Path, file: Source, key: str, labels: Path | None) -> str:
    """One line of the report: which code base saves clips under this name. key: of the clips; labels: their own file."""
    repetitions = len(names_of_repetitions(file.tensors))
    if (artifact := file.texts.get("format")) is not None:
        known = f"file of the format {artifact[0][:60]!r}, as Lite-VD saves it"
    elif repetitions:
        known = f"list of [clips, labels], as DC, DSA, DM and CAFE save it; repetitions in the file: {repetitions}"
    elif key == "0" and set(file.tensors) == {"0", "1"}:
        known = "pair (clips, labels), as IDC saves it. Grids of smaller clips (IDC's factor) are not split: decode them first"
    elif _is_frepo(source, file):
        known = "arrays `image` and `label`, as FRePo saves them"
    elif labels is not None:
        known = "clips and labels in two files, as MTT, TESLA, DATM and DD-Ranking save them"
    elif key == "":
        known = "one tensor, as SDD saves clips of DM and MTT"
    else:
        return f"{NOT_KNOWN}; the clips are the tensor {key[:60]!r}"
    return f"recognised: {known}"


def usual_range(known: str, possible: Sequence[str]) -> str:
    """The end of a refusal for an unclear value range: the usual range of the code base in the line of `recognised`.

    "" if the code base is not known or the values do not allow its range. possible: the ranges that they allow.
    """
    usual = "0-1" if "IDC" in known else "imagenet"
    return "" if NOT_KNOWN in known or usual not in possible else f". {known}; usual there is --range {usual}"


def keeps_labels_centred(source: Path, file: Source, labels: Path | None) -> bool:
    """Whether the names of the files are those of a code base that centres labels for a kernel regression (FRePo)."""
    return _is_frepo(source, file) if labels is None else labels.name.startswith("y_syn")


def _is_frepo(source: Path, file: Source) -> bool:
    return source.suffix == ".npz" and {"image", "label"} <= set(file.tensors)


def recognised_folder(folder: Path, clips: Sequence[Sequence[Path]]) -> str:
    """The same line for a folder of class folders. clips: the files of each clip."""
    first = [files[0] for files in clips]
    videos = sorted({file.suffix.lower() for file in first if file.suffix.lower() not in PICTURES})
    pictures = [file for file in first if file.suffix.lower() in PICTURES]
    kinds = [f"videos ({', '.join(videos)})"] if videos else []
    if any(file.parent.parent == folder for file in pictures):
        kinds.append("pictures CLIP_t000, CLIP_t001, ... beside each other")
    if any(file.parent.parent != folder for file in pictures):
        kinds.append("a folder of pictures for each clip")
    if not videos and all(RDED.fullmatch(file.stem) for file in pictures):
        by = "RDED and Video-DC save them"
    elif videos == [".avi"] and not pictures and any(folder.glob("*.csv")):
        by = "OptDistill saves them, beside a csv"
    else:
        by = "diffusion and selection methods save them"
    return f"recognised: class folders of {' and '.join(kinds)}, as {by}"


def no_clips(source: Path, file: Source) -> str | None:
    """The reason why a file holds latents and no clips, or None if it does not look so."""
    parts = {part.lower() for name in file.tensors for part in name.split(".")}
    is_latent = "latent" in " ".join(file.texts.get("format", [])).lower()
    if not (parts & LATENTS or is_latent):
        return None
    return (
        f"{source} holds latents or their factors, not pixels: {listing(file.tensors)}. Only the network that encoded them "
        "turns them into clips, and the file does not hold it. Decode them with your code, save torch.save({'clips': clips, "
        "'labels': labels}, 'syn.pt'), and name the network with --external. LVDD does not save labels: save them, too"
    )


def whitened(source: Path, key: str) -> str | None:
    """The reason why whitened clips are refused, or None if no name in the source says that they are whitened."""
    if not (WHITENED.search(source.name) or WHITENED.search(key)):
        return None
    return (
        f"{source} holds ZCA-whitened clips, as its name says: whitening mixes all pixels, and the matrix that undoes it is "
        "not in the file. Undo it with your code before saving, or distil without ZCA. If the values are not whitened, "
        "state their range with --range"
    )
