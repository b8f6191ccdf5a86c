"""The device that computes, and what records say about it: its name, its memory; also the commit of the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch

from vddbench.system.gpus import listed_gpus
from vddbench.system.progress import say


@cache
def git_commit() -> str:
    """The commit of the checkout that runs, with `+changes` if it was edited; "" for an installed package."""
    here = Path(__file__).parents[1]

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(here), *args], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    if git("ls-files", "--error-unmatch", "spec.py") is None:  # not tracked: a virtual environment inside another repository
        return ""
    changes = "+changes" if git("status", "--porcelain", "--", ".") else ""
    return (git("rev-parse", "HEAD") or "") + changes


@cache
def device_name(device: torch.device) -> str:
    """The model of a GPU or of the CPU, for example `NVIDIA H200`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def forget_peak_memory(device: torch.device) -> None:
    """Resets the peak that `peak_memory_bytes` reports for a GPU."""
    if device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]  # statistics of a device that nothing has used yet can't be reset
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: torch.device) -> int:
    """The peak allocation on a GPU since `forget_peak_memory`, or on the CPU this process's largest resident size so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource  # not on Windows, where records can still be read and ranked

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def best_device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def chosen_device(device: torch.device | None = None) -> torch.device:
    """`device`, by default the best one. Prints which it is, before hours of work begin.

    Warns if the CPU is used by default although the driver lists a GPU. Raises OSError if the GPU cannot compute.
    """
    chosen = device or best_device()
    if chosen.type == "cuda":
        _check_computes(chosen)
        say(f"computing on {chosen}: {device_name(chosen)}")
        return chosen
    threads = torch.get_num_threads()
    say(f"computing on the CPU: {device_name(chosen)}, {threads} thread{'s' if threads > 1 else ''}")
    if device is None and (problem := unusable_gpu()):
        say(f"{problem}; the CPU takes many times as long. --device cpu hides this message", style="yellow")
    return chosen


def _check_computes(device: torch.device) -> None:
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:  # out of memory, or a GPU that this PyTorch has no code for
        reason = str(error).splitlines()[0][:300]
        raise OSError(f"{device} ({device_name(device)}) cannot compute: {reason}; choose another one with --device") from None


def unusable_gpu() -> str:
    """A sentence about a GPU that the driver lists and PyTorch cannot use, with the reason. "" if there is none.

    Also "" if CUDA_VISIBLE_DEVICES is set, because its owner has chosen.
    """
    if torch.cuda.is_available() or "CUDA_VISIBLE_DEVICES" in os.environ or not (gpus := listed_gpus()):
        return ""
    return f"this machine has a GPU ({gpus[0].name}) that PyTorch {torch.__version__} cannot use: {why_no_cuda()}"


def why_no_cuda() -> str:
    """The reason for which PyTorch has no GPU, in the words of PyTorch."""
    if torch.version.cuda is None:
        return "this PyTorch is made without CUDA; pytorch.org/get-started has one with CUDA"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return f"{' '.join(str(error).split())[:300]}; pytorch.org/get-started has PyTorch for older drivers"
    return "CUDA finds no device"


def named_device(name: str) -> torch.device:
    """The device called cpu, cuda or cuda:N. Raises LookupError for other names and for GPUs that do not exist."""
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    allowed = ["cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    if name not in allowed:
        raise LookupError(f"no device {name[:40]!r} here; allowed: {', '.join(allowed)}")
    return torch.device("cuda:0" if name == "cuda" else name)
