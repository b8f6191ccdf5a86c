"""The GPUs that NVIDIA's driver lists, also those that PyTorch cannot use. Does not import torch."""

from __future__ import annotations

import re
import subprocess
from typing import NamedTuple

LIST_SECONDS = 30.0  # time limit for nvidia-smi, which takes seconds while it wakes a driver


class Gpu(NamedTuple):
    """One line of `nvidia-smi -L`."""

    number: str
    name: str
    uuid: str


def listed_gpus() -> list[Gpu]:
    """All GPUs of this machine, whatever CUDA_VISIBLE_DEVICES says. Empty if there is no driver."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_SECONDS, check=True).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    return [Gpu(*gpu) for gpu in re.findall(r"^GPU (\d+): (.*) \(UUID: (\S+)\)", listing, re.MULTILINE)]
