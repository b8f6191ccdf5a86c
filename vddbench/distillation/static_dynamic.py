"""The static-dynamic memory (arXiv 2312.00362): frozen stills, learned motions and one learned hallucinator for all slots.

Decoder `static_dynamic`. A slot has P stills and Q motions. Learning draws pairs of them; a student sees all P x Q.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vddbench.data.store import Split
from vddbench.distillation.contract import CannotServe
from vddbench.distillation.synthetic_clips import NO_COST, blurred, learnable, narrow_labels, real_start, to_stored
from vddbench.evaluation.train import to_input
from vddbench.spec import ClipSet, ConfigValue, DatasetSpec, Task
from vddbench.submissions.decoders.static_dynamic import every_pair, hallucinate
from vddbench.submissions.quantise import quantise, stored_motions

MOTION_SHARE = 0.1  # share of a motion of unit variance in a clip at the start "identity"; ours
HALLUCINATOR_SHAPE = (3, 4, 3, 3, 3)  # [out, in, t, h, w]; SDD


class StaticDynamic:
    """Motions and a hallucinator to learn on given stills."""

    cost: Mapping[str, ConfigValue] = NO_COST

    def __init__(
        self,
        statics: torch.Tensor,
        dynamics: int,
        hallucinator: str,
        spec: DatasetSpec,
        seed: int,
        device: torch.device,
        smooth: float = 0.0,
        start: torch.Tensor | None = None,
    ) -> None:
        """statics: [S, P, C, H, W] normalised, class by class, equally many slots per class. dynamics: Q, motions per slot.

        smooth: as in synthetic_clips.Pixels, for the motions. start: motions [S, Q, T, 1, H, W] to start from; None: N(0, 1).
        """
        labels = torch.arange(spec.num_classes).repeat_interleave(len(statics) // spec.num_classes)
        self.spec, self.labels, self.statics = spec, labels.to(device), statics.detach().to(device)
        rng = np.random.default_rng([seed, 1])  # not the stream that chose the stills
        shape = (len(statics), dynamics, spec.frames, 1, spec.size, spec.size)
        motions = torch.from_numpy(rng.standard_normal(shape, np.float32)) if start is None else start
        weight, bias = hallucinator_start(hallucinator, rng)
        self.smooth, self.start = smooth, motions.to(device) if smooth else None
        self.parameters = {
            "dynamics": learnable(torch.zeros_like(motions, device=device) if smooth else motions.to(device)),
            "hallucinator.weight": learnable(weight.to(device)),
            "hallucinator.bias": learnable(bias.to(device)),
        }

    def clips(self, rng: np.random.Generator) -> torch.Tensor:
        """[S, C, T, H, W] normalised: one random pair of each slot. Differentiable in the motions and the hallucinator."""
        slots = np.arange(len(self.labels))
        stills, motions = self.per_slot
        return self._pairs(slots, rng.integers(stills, size=len(slots)), rng.integers(motions, size=len(slots)))

    def every_clip(self) -> torch.Tensor:
        """[S*P*Q, C, T, H, W]: all pairs, slot by slot and, within a slot, still by still. Differentiable like `clips`."""
        stills, motions = self.per_slot
        slots, p, q = np.indices((len(self.labels), stills, motions)).reshape(3, -1)
        return self._pairs(slots, p, q)

    @property
    def per_slot(self) -> tuple[int, int]:
        """(P, Q)."""
        return self.statics.shape[1], self.parameters["dynamics"].shape[1]

    def _pairs(self, slots: np.ndarray, p: np.ndarray, q: np.ndarray) -> torch.Tensor:
        at, still, motion = (torch.from_numpy(rows).to(self.statics.device) for rows in (slots, p, q))
        chosen = self.motions()[at, motion].transpose(1, 2)  # [N, 1, T, H, W]
        weight, bias = self.parameters["hallucinator.weight"], self.parameters["hallucinator.bias"]
        return hallucinate(self.statics[at, still], chosen, weight, bias)

    def motions(self) -> torch.Tensor:
        """[S, Q, T, 1, H, W], differentiable. With `smooth` they are their start plus a blurred change."""
        learned = self.parameters["dynamics"]
        return learned if self.start is None else self.start + blurred(learned.flatten(0, 1), self.smooth).view_as(learned)

    def exact(self) -> ClipSet:
        statics, motions, weight, bias = self._stored()
        return ClipSet(clips=every_pair(statics, motions, weight, bias, self.spec), labels=self._pair_labels())

    def tensors(self) -> dict[str, torch.Tensor]:
        statics, motions, weight, bias = self._stored()
        still = quantise(statics)
        affine = {f"static_{name}": value for name, value in still.items() if name != "pixels"}
        return {
            "statics": still["pixels"],
            **affine,
            **stored_motions(motions),
            "hallucinator_weight": weight,
            "hallucinator_bias": bias,
            "labels": narrow_labels(self._pair_labels(), self.spec),
        }

    def _stored(self) -> tuple[torch.Tensor, ...]:
        """What the decoder reads, unrounded, on the CPU: [S, P, H, W, 3], [S, Q, T, H, W, 1], weight, bias."""
        slots, stills = self.statics.shape[:2]
        stored = to_stored(self.statics.flatten(0, 1), self.spec)  # [S*P, H, W, 3]
        statics = stored.reshape(slots, stills, *stored.shape[1:]).contiguous()
        motions = self.motions().detach().cpu().movedim(3, -1).contiguous()
        weight, bias = (self.parameters[f"hallucinator.{name}"].detach().cpu().clone() for name in ("weight", "bias"))
        return statics, motions, weight, bias

    def _pair_labels(self) -> torch.Tensor:
        pairs = self.statics.shape[1] * self.parameters["dynamics"].shape[1]
        return self.labels.cpu().repeat_interleave(pairs)


def real_motions(train: Split, ipc: int, dynamics: int, mean_of: int, seed: int) -> torch.Tensor:
    """[K*ipc, Q, T, 1, H, W]: grey mean clips minus their mean over time, which "identity" adds to a still.

    Each is the mean of `mean_of` videos of its class, or of fewer if the class is small; no video is in two means. Stills that
    start as means of equally many videos use the same clips, so a still with its own motion starts as their mean clip, in grey.
    """
    clips, _ = real_start(train, ipc * dynamics, np.random.default_rng(seed), mean_of)
    grey = to_input(clips, train.spec, torch.device("cpu")).mean(1)  # [S*Q, T, H, W]
    moving = (grey - grey.mean(1, keepdim=True)) / MOTION_SHARE
    return moving.reshape(-1, dynamics, train.spec.frames, 1, *grey.shape[2:])


def hallucinator_start(start: str, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight, bias). `default` is PyTorch's start of a Conv3d, as in SDD's Conv3DNet.

    `identity` passes the still through and adds MOTION_SHARE of the motion to each colour. Raises ValueError for other names.
    """
    if start == "default":
        torch.manual_seed(int(rng.integers(2**31)))
        layer = torch.nn.Conv3d(4, 3, 3, padding=1)
        return layer.weight.detach(), layer.bias.detach() if layer.bias is not None else torch.zeros(3)
    if start != "identity":
        raise ValueError(f"hallucinator {start!r} is unknown; allowed: default, identity")
    weight = torch.zeros(HALLUCINATOR_SHAPE)
    weight[range(3), range(3), 1, 1, 1] = 1.0
    weight[:, 3, 1, 1, 1] = MOTION_SHARE
    return weight, torch.zeros(3)


def check_fits(spec: DatasetSpec, task: Task, statics: int, dynamics: int) -> None:
    """Raises ValueError if the slots, with this many stills and motions in uint8, exceed the budget. Called before learning."""
    slots = (task.ipc or 0) * spec.num_classes
    label_bytes = 1 if spec.num_classes <= 256 else 2
    pixels = spec.size * spec.size
    slot = pixels * (3 * statics + spec.frames * dynamics) + statics * dynamics * label_bytes
    shared = 4 * (int(np.prod(HALLUCINATOR_SHAPE)) + 3 + 2 * 3 + 2)  # hallucinator, scales and offsets in float32
    needed, budget = slots * slot + shared, task.budget_bytes(spec)
    if budget is not None and needed > budget:
        raise CannotServe(
            f"{statics} statics and {dynamics} dynamics per slot need {needed:,} bytes, {task} allows {budget:,}; "
            "use fewer stills_per_slot or dynamics_per_slot in the method's file"
        )
