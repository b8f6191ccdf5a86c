"""Names that a method of a user's own may not have, because tables use them for something else.

`pack` refuses them before a set is written, and `verify` and `submit` before a pull request is accepted.
"""

from __future__ import annotations

import re
from typing import get_args

from vddbench import lookup
from vddbench.records.record import Change

CODEC_METHOD = "random_video"
SIMILAR = str.maketrans("01i2345689q7", "ollzeasbbggt")  # groups of signs that look alike
SEED_SUFFIX = re.compile(r"_s[0-9]+$")


def taken_by_tables(method: str) -> str | None:
    """Why a method of a user's own cannot have this name, or None if it can."""
    if lookup.is_bundled(method):
        return f"{method!r} is the name of a bundled baseline, with which tables compare other methods; choose another name"
    if is_codec(method):
        return f"{method!r} is a name of the codec curve: tables join {CODEC_METHOD}_... to one curve; choose another name"
    if alike := [name for name in bundled_names() if look_alike(method, name)]:
        return f"{method!r} looks like the bundled baseline {alike[0]!r}; choose another name"
    if (change := method.rpartition("_")[2]) in get_args(Change):
        return (
            f"{method!r} is the name of a row of `evaluate --frames {change}`: a method trained on {change} frames; choose "
            f"a name that does not end with _{change}"
        )
    return None


def is_codec(method: str) -> bool:
    """Whether a method is a point of the codec curve, by its name in tables."""
    return method == CODEC_METHOD or method.startswith(f"{CODEC_METHOD}_")


def bundled_names() -> list[str]:
    """The names that tables use for bundled baselines and their presets."""
    return [
        lookup.named_in_tables(name, preset)
        for name in lookup.names("baseline")
        for preset in (None, *lookup.source_of("baseline", name).presets)
    ]


def look_alike(one: str, other: str) -> bool:
    """Whether a reader may take one method's name for the other, or for one of the other's distillation seeds (random_s1)."""
    return bool(_skeletons(one) & _skeletons(other))


def _skeletons(name: str) -> set[str]:
    """The name, and the name without a seed, without underscores and with one letter for each group of similar signs."""
    names = (name, SEED_SUFFIX.sub("", name))
    return {text.replace("_", "").translate(SIMILAR).replace("rn", "m").replace("vv", "w") for text in names}
