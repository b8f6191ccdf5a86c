"""What the author of a set tells `pack`: how the files are read and stored, and what the manifest says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
