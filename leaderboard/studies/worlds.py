"""Made-up worlds in which the truth is known: test videos, methods, distilled sets and students with known spreads.

A student is right on a video if a latent sum is above 0: the method's skill, the video's ease, the ease of its class and its
group, what this method finds easy, the deviations of the distilled set and of the student, and noise. All spreads are on this
latent scale, on which the noise has a standard deviation of 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

Hits = list[np.ndarray]  # for each distillation [students, V] bool


@dataclass(frozen=True)
class World:
    """Test videos and spreads that all methods of a world share."""

    sizes: tuple[int, ...]  # videos of each group; 1: a video without a group
    label: tuple[int, ...]  # class of each group
    ease: float = 0.7  # standard deviation over videos, the same for all methods
    of_class: float = 0.0
    of_group: float = 0.0
    own_group: float = 0.0  # over groups, for each method anew
    own: float = 0.5  # over videos, for each method anew
    of_set: float = 0.0
    of_student: float = 0.1
    heavy: bool = False  # students vary by Student's t with 2 degrees of freedom
    collapse: float = 0.0  # share of students that are wrong on every video

    @property
    def groups(self) -> np.ndarray:
        """[V] str, as in records."""
        names = [f"group {i}" if size > 1 or max(self.sizes) > 1 else "" for i, size in enumerate(self.sizes)]
        return np.repeat(names, self.sizes)

    @property
    def labels(self) -> np.ndarray:
        return np.repeat(np.asarray(self.label, np.int32), self.sizes)


@dataclass(frozen=True)
class Method:
    """A method's answers, its true score, and the true score of its sets."""

    hits: Hits
    true: float
    true_of_sets: float


def plain(videos: int) -> World:
    """Videos without groups, in one class."""
    return World((1,) * videos, (0,) * videos)


def grouped(sizes: list[int], **spreads: float) -> World:
    return World(tuple(sizes), (0,) * len(sizes), **{"of_group": 0.5, "own_group": 0.3, **spreads})  # type: ignore[arg-type]


def by_class(classes: int, groups: int, size: int, **spreads: float) -> World:
    """`groups` groups of `size` videos in each class."""
    label = np.repeat(np.arange(classes), groups)
    return World((size,) * len(label), tuple(label.tolist()), **spreads)  # type: ignore[arg-type]


@dataclass
class Draw:
    """One repetition of a world: its videos, drawn anew; classes stay the same over all repetitions."""

    world: World
    rng: np.random.Generator
    classes: np.ndarray = field(init=False)  # [V] ease of each video's class

    def __post_init__(self) -> None:
        world, rng = self.world, self.rng
        of_class = np.random.default_rng(7).normal(0, 1, max(world.label) + 1) * world.of_class
        self.classes = of_class[world.labels]
        self.common = self.classes + rng.normal(0, world.ease, len(self.classes)) + self.per_group(world.of_group)

    def per_group(self, spread: float) -> np.ndarray:
        return np.repeat(self.rng.normal(0, 1, len(self.world.sizes)) * spread, self.world.sizes)

    def method(self, skill: float, sets: int, students: int) -> Method:
        """A method's students on these videos. skill: latent; 0 is right on about half of the videos."""
        world, rng = self.world, self.rng
        easy = self.common + rng.normal(0, world.own, len(self.common)) + self.per_group(world.own_group) + skill
        of_sets = rng.normal(0, 1, sets) * world.of_set
        hits, true = [], []
        for of_set in of_sets:
            kinds = rng.standard_t(2, (students, 1)) if world.heavy else rng.normal(0, 1, (students, 1))
            right = easy + of_set + kinds * world.of_student + rng.normal(0, 1, (students, len(easy))) > 0
            right[rng.random(students) < world.collapse] = False
            hits.append(right)
            true.append(self.chance(skill + of_set))
        return Method(hits, self.chance(skill, world.of_set), float(np.mean(true)))

    def chance(self, skill: float, of_set: float = 0.0) -> float:
        """The expected score over new videos and students (and sets, if `of_set` is their spread)."""
        world = self.world
        spread = world.ease**2 + world.of_group**2 + world.own_group**2 + world.own**2 + of_set**2 + 1
        if world.heavy:
            kinds = np.random.default_rng(1).standard_t(2, (2000, 1)) * world.of_student
            expected = ndtr((skill + np.unique(self.classes)[None, :] + kinds) / np.sqrt(spread)).mean()  # one class
        else:
            expected = ndtr((skill + self.classes) / np.sqrt(spread + world.of_student**2)).mean()
        return float(expected) * (1 - world.collapse)
