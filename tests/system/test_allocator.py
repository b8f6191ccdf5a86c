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

def ask_and_free(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(10_000_000)  # 40 MB: above the 32 MB from which glibc always maps a buffer of its own
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

ask_and_free(5)
mapped = ask_and_free(5)
assert keep_freed_memory()
ask_and_free(25)  # the heap grows first: until then there are page faults, too (7 times at most were seen)
print(mapped, ask_and_free(5))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_a_large_buffer_that_is_freed_and_asked_for_again_costs_no_page_faults() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    mapped, kept = map(int, done.stdout.split())
    assert kept < mapped / 5, done.stdout  # less than one buffer of 5
