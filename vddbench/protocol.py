"""The protocols: everything that a submission cannot change, as frozen objects whose hash is in every record.

`PROTOCOL` ranks. `SDD` replays the field's released protocol, with its faults, to compare a set with what papers print; its
records are never ranked. The store's spec and its digest fix a dataset's classes, geometry and steps; a student's `RECIPE` its
training. docs/protocol.md gives the reason for each value of `PROTOCOL`, docs/sdd.md those of `SDD`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from vddbench.spec import IMAGENET_MEAN, IMAGENET_STD, IPCS, Frozen, Recipe
from vddbench.system.files import canonical_json


class Hashed(Frozen):
    """A protocol with a hash."""

    train_precision: ClassVar[Literal["fp32"] | None] = None  # None: the best of the hardware; not a part of the hash

    def hash(self, recipe: Recipe) -> str:
        """sha256 of this object and a student's recipe."""
        return hashlib.sha256(canonical_json([self.model_dump(), recipe.model_dump()])).hexdigest()


class Protocol(Hashed):
    name: Literal["v3"] = "v3"  # a change that can move a score needs a new name; ranks never mix protocols
    ipcs: tuple[int, ...] = IPCS
    budget: str = "ipc*K*(T*H*W*3+8) bytes over every tensor of the payload"
    normalisation_mean: tuple[float, float, float] = IMAGENET_MEAN  # per channel, fixed; never per batch
    normalisation_std: tuple[float, float, float] = IMAGENET_STD
    standardisation: str = (
        "then each clip minus its mean, over its standard deviation (at least 1/64), as a student's first layer"
    )
    batch: str = "min(256, ipc*K, N), shuffled passes over the N decoded clips"
    loss: str = "cross-entropy; against the given distribution when labels are soft"
    gradient_norm: float = 20.0  # a longer gradient, over all weights together, is shortened to this: docs/fitting.md
    augmentation: str = "none"
    read_out: str = "after the last step, once"
    test_views: int = 3  # clips per video, evenly spaced starts; mean of softmax
    test_precision: Literal["fp32"] = "fp32"  # so that a score does not depend on the test batch size
    init: str = "PyTorch's defaults under torch.manual_seed(seed)"
    default_seeds: int = 5


class Sdd(Hashed):
    """The protocol of the code released with SDD (arXiv 2312.00362), with one field for each of its faults.

    The defaults are as released. `MENDED` has the value of each faulty field that removes its fault.
    """

    train_precision = "fp32"  # as in the released code, on all hardware

    name: Literal["sdd"] = "sdd"
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 500  # passes over the set
    one_epoch_more: bool = True  # the loop is range(epochs + 1)
    length: Literal["epochs", "steps"] = "epochs"  # "steps": as v3, the same number for every set of a task
    gradient_norm: Literal["free", "limited"] = "free"  # "limited": as v3
    momentum_at_drop: Literal["lost", "kept"] = "lost"  # the learning rate drops by creating the optimiser again
    lr: Literal["learned", "fixed"] = "learned"  # of the submission, if it has one; otherwise the student's
    pairs: Literal["drawn", "all"] = "drawn"  # of a static-dynamic slot: one random pair in each epoch, or all
    scale: Literal["batch", "clip"] = "batch"  # (x - x.mean()) / x.std() of a batch, or of each clip
    test_batch: Annotated[int, Field(ge=1, le=4096)] = 64  # clips; the last batch of a pass is smaller
    test_order: Literal["class", "shuffled"] = "class"  # of the videos in the test batches
    test_start: Literal["random", "even"] = "random"  # of the clip of each pass; "even": the first, middle and last one
    test_flip: Annotated[float, Field(ge=0, le=1)] = 0.5  # probability that a test clip is mirrored
    passes: Annotated[int, Field(ge=1, le=20)] = 3  # over the test videos
    score: Literal["mean accuracy", "mean softmax"] = "mean accuracy"  # of the passes
    top5: Literal["mixed", "plain"] = "mixed"  # "mixed": the mean of top-1, top-1, top-3 and top-5

    def mended(self, *faults: str) -> Sdd:
        """This protocol without these faults, given by their fields. Raises LookupError for a field that is no fault."""
        for fault in faults:
            if fault not in MENDED:
                raise LookupError(f"fault {fault[:40]!r} is unknown; allowed: {', '.join(MENDED)}")
        return self.model_copy(update={fault: MENDED[fault] for fault in faults})


MENDED: dict[str, Any] = {  # fields of Sdd that are faults -> their value without the fault
    "one_epoch_more": False,
    "length": "steps",
    "gradient_norm": "limited",
    "momentum_at_drop": "kept",
    "lr": "fixed",
    "pairs": "all",
    "scale": "clip",
    "test_order": "shuffled",
    "test_start": "even",
    "test_flip": 0.0,
    "score": "mean softmax",
    "top5": "plain",
}
PROTOCOL = Protocol()
SDD = Sdd()


def protocol_named(name: str, epochs: int | None = None) -> Protocol | Sdd:
    """The protocol "v3" or "sdd". epochs: of sdd, 500 by default.

    Raises LookupError for another name, or for epochs of a protocol that counts steps.
    """
    if name not in {PROTOCOL.name, SDD.name}:
        raise LookupError(f"protocol {name[:40]!r} is unknown; allowed: {PROTOCOL.name}, {SDD.name}")
    if name == SDD.name:
        return SDD if epochs is None else Sdd(epochs=epochs)
    if epochs is not None:
        raise LookupError(f"--epochs belongs to --protocol {SDD.name}: {PROTOCOL.name} fixes the number of steps of each task")
    return PROTOCOL
