"""Freed memory stays in the process: large buffers are not mapped anew, and numbers stay the same."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from vddbench.system.allocator import keep_freed_memory

def page_faults():
    torch.zeros(10_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(10_000_000)  # 40 MB: above the 32 MB from which glibc always maps a buffer of its own
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = page_faults()
assert keep_freed_memory()
print(plain, page_faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_large_buffer_that_is_freed_and_asked_for_again_costs_no_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert kept < plain / 3, done.stdout
