"""The value range of research clips: which stored number is black, which one white.

A reading is a mean and a standard deviation per channel: value on the 0-255 scale = 255 * (stored * std + mean). `--range`
states the reading. Otherwise it is detected from evidence that a few outliers cannot change: whole grey levels, exact bounds,
quantiles. If two readings fit, or none, nothing is guessed: a wrong one costs accuracy and shows nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch

from vddbench.data.store import Split
from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD
from vddbench.submissions import appearance
from vddbench.submissions.payload import CODES, dtype_name
from vddbench.submissions.tensors import value_range


class Unclear(ValueError):
    """Several value ranges fit the clips, or none does. possible: those that fit."""

    def __init__(self, message: str, possible: Sequence[str]) -> None:
        super().__init__(message)
        self.possible = possible


class Reading(NamedTuple):
    """What a stored value means: 255 * (stored * std + mean) on the 0-255 scale, by channel (RGB)."""

    std: Sequence[float]
    mean: Sequence[float]

    def to_255(self, values: torch.Tensor) -> torch.Tensor:
        """Values [..., 3] on the 0-255 scale, as float32."""
        std, mean = torch.tensor(self.std), torch.tensor(self.mean)
        return values.to(torch.float32, copy=True).mul_(std).add_(mean).mul_(255)


READINGS = {
    "0-255": Reading([1 / 255] * 3, [0.0] * 3),
    "0-1": Reading([1.0] * 3, [0.0] * 3),
    "-1-1": Reading([0.5] * 3, [0.5] * 3),
    "imagenet": Reading(IMAGENET_STD, IMAGENET_MEAN),
    "kinetics": Reading((0.22803, 0.22145, 0.216989), (0.43216, 0.394666, 0.37645)),  # torchvision's video models
    "clip": Reading((0.26862954, 0.26130258, 0.27577711), (0.48145466, 0.4578275, 0.40821073)),  # OpenAI's CLIP
    "cifar": Reading((0.2470, 0.2435, 0.2616), (0.4914, 0.4822, 0.4465)),
    "slowfast": Reading([0.225] * 3, [0.45] * 3),
    "-0.5-0.5": Reading([1.0] * 3, [0.5] * 3),
}
COMMON = ("0-255", "0-1", "-1-1", "imagenet")  # quantiles can distinguish these; the others need exact evidence
NUMBERS = "MEAN,MEAN,MEAN/STD,STD,STD"
SAMPLE = 300_000  # pixels that statistics are computed from
QUANTILES = (0.0001, 0.005, 0.995, 0.9999)
MAX_OUTSIDE = 0.04  # share of values that may leave a range by more than SLACK of it; a generator that does not clamp: 2 %
MAX_OUTSIDE_AT_ALL = 0.25  # with more, a reading is not even asked about; noise of unit variance has 0.3 beyond -1-1
FAR = 1.5  # ranges by which the outermost values may leave 0-255; those of mtt_smoke leave it by 1
SLACK = 0.02
GRID_TOLERANCE, GRID_SHARE = 0.1, 0.98  # grey levels: float16 holds normalised pixels to 0.06; by chance 0.2 would fit
STANDARDISED = 2e-4  # of a clip's mean and std; noise of 100,000 values varies by 2e-3


def parse(text: str) -> Reading:
    """A name of READINGS, or numbers as `0.43,0.39,0.38/0.23,0.22,0.22` (one number stands for three). Raises ValueError."""
    if text in READINGS:
        return READINGS[text]
    try:
        mean, std = ([float(number) for number in part.split(",")] for part in text.split("/"))
    except ValueError:
        mean, std = [], []
    if {len(mean), len(std)} <= {1, 3} and all(map(math.isfinite, mean + std)) and min(std, default=0) > 0:
        return Reading(std * (3 // len(std)), mean * (3 // len(mean)))
    raise ValueError(
        f"--range {text[:60]!r} is not known; allowed: {', '.join(READINGS)}, or the normalisation of your code on the 0-1 "
        f"scale as {NUMBERS}, e.g. 0.43,0.39,0.38/0.23,0.22,0.22"
    )


def to_255(values: torch.Tensor, value_range: str | None, notes: list[str], train: Split | None = None) -> torch.Tensor:
    """Values [..., 3] on the 0-255 scale: uint8 stays as it is, everything else becomes float32.

    train: what a user who has to choose can compare with. Raises ValueError if values are not finite or the range is neither
    stated nor clear.
    """
    if values.dtype not in CODES:
        raise ValueError(f"the clips are {values.dtype}; allowed: {', '.join(str(d) for d in CODES)}")
    low, high = value_range_of(values)
    name = value_range or detect(values, train)
    notes.append(f"values: {low:.4g} to {high:.4g}, taken as {name} ({'as stated' if value_range else 'detected'})")
    if value_range and (warning := _outside(_sampled(values), value_range)):
        notes.append(f"warning: {warning}")
    if name == "0-255":
        return values if values.dtype == torch.uint8 else values.to(torch.float32)
    if value_range is None and name == "imagenet":
        notes.append(f"if your code normalises with other numbers than ImageNet's: --range {NUMBERS}")
    return parse(name).to_255(values)


def value_range_of(values: torch.Tensor) -> tuple[float, float]:
    """The smallest and the largest value. Raises ValueError if there are NaN or infinite ones."""
    low, high = value_range(values)
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = [int((~clip.isfinite()).sum()) for clip in values]
        first = next(index for index, count in enumerate(bad) if count)
        raise ValueError(
            f"the clips hold {sum(bad):,} NaN or infinite values in {sum(map(bool, bad)):,} clips, the first in clip {first}; "
            "allowed: finite numbers"
        )
    return low, high


def detect(values: torch.Tensor, train: Split | None = None) -> str:
    """The name of the only reading that values [N, ..., 3] allow.

    Raises Unclear, with the options to choose from, and ValueError if each clip was standardised with numbers of its own.
    """
    if values.dtype == torch.uint8:
        return "0-255"
    if values.is_floating_point() and _standardised(values):
        raise ValueError(
            "every clip has mean 0 and standard deviation 1: it was standardised with numbers of its own, which the file does "
            f"not hold. Undo that before saving; if one normalisation served all clips, state it with --range ({NUMBERS})"
        )
    sample = _sampled(values)
    exact = [name for name in READINGS if _whole_grey_levels(sample, name)] or [
        name for name in READINGS if _reaches_bounds(values, name)
    ]
    fitting = exact or [name for name in COMMON if _possible(sample, name)]
    if len(fitting) == 1 and (exact or _convincing(sample, fitting[0])):
        return fitting[0]
    low, high = value_range(values)
    shown = fitting if len(fitting) > 1 else COMMON
    looks = "; ".join(f"`--range {name}` gives {_look(sample, name)}" for name in shown)
    beside = f"; the train split has {appearance.of_train(train)}" if train is not None else ""
    raise Unclear(
        f"values from {low:.4g} to {high:.4g} ({dtype_name(values.dtype)}) are not clearly on one scale: {looks}{beside}. "
        f"Choose one of these (--preview shows the clips), or state your code's normalisation: --range {NUMBERS}",
        fitting,
    )


def _sampled(values: torch.Tensor) -> torch.Tensor:
    """SAMPLE random pixels [n, 3], float32, the same ones each time; all if there are no more."""
    shape = values.shape[:-1]
    if shape.numel() <= SAMPLE:
        return values.reshape(-1, 3).float()
    generator = torch.Generator().manual_seed(0)
    return values[tuple(torch.randint(size, (SAMPLE,), generator=generator) for size in shape)].float()


def _whole_grey_levels(sample: torch.Tensor, name: str) -> bool:
    """Whether the values, read like this, are the whole numbers of 8-bit video, and not of one grey level only."""
    decoded = READINGS[name].to_255(sample)
    whole = (decoded - decoded.round()).abs() <= GRID_TOLERANCE
    inside = (decoded > -0.5) & (decoded < 255.5)
    return float((whole & inside).float().mean()) >= GRID_SHARE and float(decoded.max() - decoded.min()) > 2


def _reaches_bounds(values: torch.Tensor, name: str) -> bool:
    """Whether the darkest and the brightest value of each channel are black and white, as clamping leaves them."""
    low, high = torch.aminmax(values.reshape(-1, 3), dim=0)
    ends = READINGS[name].to_255(torch.stack([low, high]))
    return bool((ends[0].abs() <= 1).all()) and bool(((ends[1] - 255).abs() <= 1).all())


def is_possible(values: torch.Tensor, name: str) -> bool:
    """Whether values [..., 3] may be on this scale of COMMON, judged by their quantiles."""
    return _possible(_sampled(values), name)


def _possible(sample: torch.Tensor, name: str) -> bool:
    """Whether the quantiles allow a reading at all."""
    lowest, low, high, highest = torch.quantile(sample.flatten(), torch.tensor(QUANTILES)).tolist()
    if name == "imagenet":  # learned clips leave 0-255; noise of unit variance stays below 8, white is 2.64
        return bool(max(-lowest, highest) <= 8 and low <= -0.3 and high - low >= 0.4)
    has_content = {"0-255": high > 16, "0-1": high >= 0.1, "-1-1": lowest <= -0.2}[name]  # not all black; darker than grey
    ends = READINGS[name].to_255(torch.tensor([lowest, highest])[:, None].expand(2, 3))
    near = bool(ends.min() >= -FAR * 255) and bool(ends.max() <= (1 + FAR) * 255)
    return bool(has_content and near) and _share_outside(sample, name) <= MAX_OUTSIDE_AT_ALL


def _convincing(sample: torch.Tensor, name: str) -> bool:
    """Whether the only possible reading may be taken without asking: few values leave its range, and -1-1 is used."""
    is_used = name != "-1-1" or float(sample.abs().quantile(0.995)) >= 0.6
    return name == "imagenet" or (is_used and _share_outside(sample, name) <= MAX_OUTSIDE)


def _share_outside(sample: torch.Tensor, name: str) -> float:
    """The share of values that, read like this, leave 0-255 by more than SLACK of it."""
    decoded = parse(name).to_255(sample) / 255
    return float(((decoded < -SLACK) | (decoded > 1 + SLACK)).float().mean())


def _outside(sample: torch.Tensor, stated: str) -> str | None:
    """A warning if many values leave 0-255 in the stated range, with the common ranges that leave fewer outside, else None."""
    if (share := _share_outside(sample, stated)) <= MAX_OUTSIDE:
        return None
    shares = {name: _share_outside(sample, name) for name in COMMON if _possible(sample, name)}
    fewer = ", ".join(f"--range {name} ({other:.0%} outside)" for name, other in shares.items() if other < share)
    return (
        f"{share:.0%} OF THE VALUES LIE OUTSIDE 0-255 in the stated range {stated}; ranges that fit better: "
        f"{fewer or 'none of ' + ', '.join(COMMON)}"
    )


def _standardised(values: torch.Tensor) -> bool:
    """Whether every clip has mean 0 and standard deviation 1, more exactly than noise would."""
    if len(values) == 0:
        return False
    return all(
        abs(float(clip.mean(dtype=torch.float64))) <= STANDARDISED and abs(float(clip.double().std()) - 1) <= STANDARDISED
        for clip in values
    )


def _look(sample: torch.Tensor, name: str) -> str:
    decoded = READINGS[name].to_255(sample)
    return f"mean {float(decoded.mean()):.0f} and contrast {float(decoded.std()):.0f} of 255"
