"""Draws the commit that the fresh seeds of a payload follow from (records/fresh_seeds.py).

For a pull request, a maintainer commits the payload's sha256 and a random number to main of the results repo. The commit comes
after the payload and contains its hash, so the author could not know it, and everybody finds it in the history of the repo.
Without a results repo the number is drawn on this machine.
"""

from __future__ import annotations

import secrets

from vddbench import hub
from vddbench.leaderboard.exchange.proposal import Proposal

SEEDS = "SEEDS"  # a file of a results repo: sha256 of the payload whose seeds were drawn last, and a random number


def on_main(proposed: Proposal, sha256: str) -> str:
    """Commits a draw for this payload to main of the results repo; returns the commit."""
    line = f"{sha256} {secrets.token_hex(16)}\n"
    return hub.commit(proposed.repo, {SEEDS: line.encode()}, f"Draw seeds for {sha256}").sha


def here() -> str:
    """A random number in the form of a commit."""
    return secrets.token_hex(20)
