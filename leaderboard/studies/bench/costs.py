"""`bench --costs`: operations and memory of a training step of each student. They are counted, so they are equal everywhere."""

from __future__ import annotations

import torch
from tabulate import tabulate
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from vddbench.data.datasets import miniucf, movingshapes
from vddbench.evaluation.speed import counting, random_clips
from vddbench.evaluation.train import build, to_input
from vddbench.lookup import load
from vddbench.spec import DatasetSpec
from vddbench.system.progress import bar

SHAPES = (movingshapes.SPEC, miniucf.SPEC)  # 8x64x64 and 16x112x112: every registered clip shape
CLASSES = 50
HEADERS = (
    "student", "parameters", "weights, gradients, momentum",
    *(f"{s.frames}x{s.size}x{s.size}: {what}" for s in SHAPES for what in ("GFLOP a clip", "MB a clip")),
)  # fmt: skip


def step(name: str, spec: DatasetSpec) -> tuple[int, float, float]:
    """(parameters, operations per clip of a training step, bytes per clip that autograd holds for the backward pass).

    Counted on two clips of one step in fp32; a tensor that is held several times counts once.
    """
    cpu, clips = torch.device("cpu"), 2
    spec = spec.model_copy(update={"class_names": tuple(f"class{i}" for i in range(CLASSES))})
    model = build(load("student", name), spec, 0, cpu).train()
    own, held = {p.untyped_storage().data_ptr() for p in model.parameters()}, dict[int, torch.Tensor]()

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            held[place] = tensor  # kept, so that its place is not used again
        return tensor

    x, labels = to_input(random_clips(spec, clips).clips, spec, cpu), torch.arange(clips)
    with counting(model) as counter, saved_tensors_hooks(hold, lambda tensor: tensor):
        F.cross_entropy(model(x), labels).backward()  # type: ignore[no-untyped-call]
    num_bytes = sum(tensor.untyped_storage().nbytes() for tensor in held.values())
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / clips, num_bytes / clips


def run(students: list[str]) -> None:
    """Prints one row per student, as Markdown."""
    for name in students:
        load("student", name)  # unknown names are refused before anything is counted
    rows = []
    with bar("bench --costs", len(students) * len(SHAPES)) as progress:
        for name in students:
            cells = []
            for spec in SHAPES:
                parameters, flop, held = step(name, spec)
                cells += [f"{flop / 1e9:.1f}", f"{held / 1e6:.0f}"]
                progress.advance()
            rows.append([name, f"{parameters:,}", f"{12 * parameters / 1e6:,.0f} MB", *cells])
    print(tabulate(rows, HEADERS, "github", disable_numparse=True))
