"""Large buffers: freed ones stay in the process, where the C library would return them to the system; new ones in huge pages.

A training step frees and asks again for the same large buffers. glibc maps each of them anew, and the system then fills each
page with zeros on first use. Results stay the same to the bit; docs/speed.md has the gain and the memory it costs.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from contextlib import suppress
from functools import cache

import numpy as np

# Parameters of mallopt(3), malloc.h
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
MEGABYTE = 2**20
HUGE_PAGE = 2 * MEGABYTE  # on x86-64 and most ARM
TRIM_THRESHOLD, TOP_PAD = 2**31 - 1, 64 * MEGABYTE  # bytes: what is freed at the heap's end is kept below 2 GiB


@cache
def keep_freed_memory() -> bool:
    """Tells glibc to serve large buffers from its heap and to keep what is freed. Returns whether that was possible.

    Other C libraries (macOS, musl, Windows) have no such call: nothing changes there.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, TRIM_THRESHOLD), (M_TOP_PAD, TOP_PAD))
    return all(mallopt(name, value) for name, value in settings)


def new_memory(shape: tuple[int, ...]) -> np.ndarray:
    """A uint8 array of zeros, in huge pages if possible: getting ordinary pages takes four times as long as filling them."""
    num_bytes = math.prod(shape)
    if num_bytes < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, np.uint8)
    memory = mmap.mmap(-1, -(-num_bytes // HUGE_PAGE) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the kernel has no huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, num_bytes).reshape(shape)
