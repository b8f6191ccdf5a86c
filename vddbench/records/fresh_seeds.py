"""Seeds of verifying students, which neither the author of a payload nor the maintainer who verifies it can choose.

n fresh seeds are `first, first + 1, ..., first + n - 1`. `first` follows from the payload and from a commit that did not exist
when the payload was proposed. So nobody can distil for known initialisations, and nobody can try many payloads until one suits
the seeds. Records name the commit (`Record.drawn_from`), so that anybody can compute the seeds again.
"""

from __future__ import annotations

import hashlib

FIRST = 2**20  # claims have the seeds 0, 1, 2, ... and never reach this one
END = 2**31 - 2**20  # of the first seeds; a record's seed is below 2**31


def first_fresh_seed(submission_sha256: str, commit: str) -> int:
    """The first seed, FIRST <= seed < END, by the payload's sha256 and the commit (64 and 40 hex digits)."""
    digest = hashlib.sha256(f"{submission_sha256}{commit}".encode()).digest()
    return FIRST + int.from_bytes(digest) % (END - FIRST)
