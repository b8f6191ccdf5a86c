"""The protocol: everything that a submission cannot change, as one frozen object whose hash is in every record.

The store's spec and its digest fix a dataset's classes, geometry and steps; a student's `RECIPE` fixes its training. README,
"What the protocol fixes", gives the reason for each value.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, IPCS, Frozen, Recipe
from vddbench.system.files import canonical_json


class Protocol(Frozen):
    name: Literal["v2"] = "v2"  # a change that can move a score needs a new name; ranks never mix protocols
    ipcs: tuple[int, ...] = IPCS
    budget: str = "ipc*K*(T*H*W*3+8) bytes over every tensor of the payload"
    normalisation_mean: tuple[float, float, float] = IMAGENET_MEAN  # per channel, fixed; never per batch
    normalisation_std: tuple[float, float, float] = IMAGENET_STD
    standardisation: str = (
        "then each clip minus its mean, over its standard deviation (at least 1/64), as a student's first layer"
    )
    batch: str = "min(256, ipc*K, N), shuffled passes over the N decoded clips"
    loss: str = "cross-entropy; against the given distribution when labels are soft"
    augmentation: str = "none"
    read_out: str = "after the last step, once"
    test_views: int = 3  # clips per video, evenly spaced starts; mean of softmax
    test_precision: Literal["fp32"] = "fp32"  # so that a score does not depend on the test batch size
    init: str = "PyTorch's defaults under torch.manual_seed(seed)"
    default_seeds: int = 5

    def hash(self, recipe: Recipe) -> str:
        """sha256 of this object and a student's recipe."""
        return hashlib.sha256(canonical_json([self.model_dump(), recipe.model_dump()])).hexdigest()


PROTOCOL = Protocol()
