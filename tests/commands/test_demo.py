"""The demo says whether the student trained here is the recorded one."""

from __future__ import annotations

from vddbench.commands.demo import RECORDS, STUDENT, TASK, compared


def test_the_same_answers_reproduce_a_record_and_those_of_another_seed_do_not() -> None:
    [folder] = (RECORDS / TASK).glob(f"random@*/{STUDENT}")  # its seeds differ most
    recorded, other = folder / "seed0.json", folder / "seed1.json"
    assert "400 of 400 answers are equal\nreproduced: the difference is +0.0" in compared(recorded, recorded)
    assert "\nnot reproduced: the difference is +6.5" in compared(other, recorded)
