"""What records say about the machine: the device, its name, its memory, and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from pathlib import Path

import torch


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


def named_device(name: str) -> torch.device:
    """The device called cpu, cuda or cuda:N. Raises LookupError for other names and for GPUs that do not exist."""
    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count()
    allowed = ["cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    if name not in allowed:
        raise LookupError(f"no device {name[:40]!r} here; allowed: {', '.join(allowed)}")
    return torch.device("cuda:0" if name == "cuda" else name)
