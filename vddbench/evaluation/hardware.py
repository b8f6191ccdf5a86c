"""The device, the precision and the clips per forward pass with which a student is computed. Records name all three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from vddbench import __version__
from vddbench.evaluation.students import StudentModule
from vddbench.system.device import best_device, device_name, git_commit
from vddbench.system.progress import say

Precision = Literal["fp32", "bf16"]
NORMS_OVER_BATCH = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
CPU_MICRO_BATCH = 64  # clips in a forward pass on the CPU, where running out of memory ends the process without an error
RESIDENT_SHARE = 0.5  # clips stay on the GPU if they fit into this share of its free memory


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A device and the arithmetic to use on it."""

    device: torch.device
    precision: Precision
    halvings: int = 0  # earlier processes killed for their memory; each halves the clips of a forward pass


def hardware_for(
    student: StudentModule, device: torch.device | None = None, *, precision: Precision | None = None, halvings: int = 0
) -> Hardware:
    """The hardware to train `student` on. By default the best device and the best precision there."""
    device = device or best_device()
    return Hardware(device=device, precision=precision or best_precision(device, student), halvings=halvings)


def best_precision(device: torch.device, student: StudentModule) -> Precision:
    """bf16 autocast if the student's file sets `BF16 = True` and the hardware multiplies bf16 natively, else fp32."""
    return "bf16" if getattr(student, "BF16", False) and has_bf16(device) else "fp32"


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@contextmanager
def exact_fp32() -> Iterator[None]:
    """Makes fp32 exact: by default PyTorch lets GPUs round the inputs of convolutions to TF32 (10 bits of mantissa)."""
    backends: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


def has_batch_norm(model: torch.nn.Module) -> bool:
    return any(isinstance(module, NORMS_OVER_BATCH) for module in model.modules())


def default_micro_batch(model: torch.nn.Module, batch: int, hardware: Hardware) -> int:
    """Clips in the first forward pass: the batch on a GPU, at most CPU_MICRO_BATCH of them on the CPU, halved `halvings` times.

    Networks with batch norm always get the whole batch: statistics over fewer clips would make it another network.
    """
    if has_batch_norm(model):
        return batch
    whole = batch if hardware.device.type == "cuda" else min(batch, CPU_MICRO_BATCH)
    return max(1, whole >> hardware.halvings)


def resident(clips: torch.Tensor, device: torch.device) -> torch.Tensor:
    """The clips on the device if they fit comfortably. Otherwise where they are; each batch is copied to the device later."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # PyTorch's cache
        if clips.numel() * clips.element_size() < RESIDENT_SHARE * free:
            return clips.to(device)
        say("  the clips do not fit on the GPU: each batch is copied there, which takes longer", style="yellow")
    return clips


def graph_safe(student: StudentModule, clips: torch.Tensor) -> bool:
    """Whether a training step may be captured as a CUDA graph: the student's file sets `GRAPH = True`, the clips are on a GPU.

    A graph repeats the kernels of one step, so Python code of the network, such as a branch or a random number, would not run
    again in the next step.
    """
    return getattr(student, "GRAPH", False) and clips.device.type == "cuda"


def arithmetic(hardware: Hardware) -> dict[str, str]:
    """Fields that must match, besides the identity, so that a resumed student equals one trained without interruption."""
    threads = {"num_threads": str(torch.get_num_threads())} if hardware.device.type == "cpu" else {}
    return {
        "device": device_name(hardware.device),
        "precision": hardware.precision,
        "torch": torch.__version__,
        "vddbench": __version__,
        "git_commit": git_commit(),
        **threads,
    }
