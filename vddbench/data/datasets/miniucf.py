"""miniucf: the 50 classes of UCF101 that video distillation papers use, split 1: 4,662 train and 1,861 test clips.

The list of classes is the one in the released code of "Dancing with Still Images" (CVPR 2024, arXiv 2312.00362). Papers call it
the 50 most common classes, but only 23 of them are, so it is pinned here instead of derived. Source and layout: see ucf101.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vddbench.data.datasets.ucf101 import LIST_FILES, SUFFIX, clips_in, listing_of, spec_of, unlisted_of
from vddbench.data.matching import located
from vddbench.spec import Video

CLASSES = """
ApplyEyeMakeup BalanceBeam BandMarching BaseballPitch Basketball BasketballDunk Biking Billiards BlowingCandles
Bowling BreastStroke CleanAndJerk CliffDiving CricketShot Diving FloorGymnastics FrisbeeCatch GolfSwing
HammerThrow HighJump HorseRace HorseRiding HulaHoop IceDancing JumpingJack Knitting MilitaryParade Mixing
ParallelBars PlayingPiano PlayingViolin PoleVault PommelHorse Punch Rafting Rowing SkateBoarding Skiing Skijet
SkyDiving SoccerPenalty StillRings SumoWrestling Surfing Swing TennisSwing TrampolineJumping UnevenBars
VolleyballSpiking WritingOnBoard
"""
CLASS_NAMES = tuple(CLASSES.split())
__all__ = ["CLASS_NAMES", "LIST_FILES", "SPEC", "SUFFIX", "listing", "unlisted", "videos"]

SPEC = spec_of(CLASS_NAMES, {"train": 4662, "test": 1861}, full=9_500)  # 500 passes of batch 256: 19 batches of 4,662


def listing(raw: Path | None) -> Iterator[Video]:
    """The 6,523 clips of the 50 classes."""
    return listing_of(SPEC.class_names, raw)


def videos(raw: Path) -> Iterator[Video]:
    """The listed clips with their files in `raw`, which has (or is) the folder UCF-101."""
    return located(listing(raw), clips_in(SPEC.class_names, raw))


def unlisted(raw: Path) -> Iterator[str]:
    return unlisted_of(SPEC.class_names, raw)
