"""The demo says whether the student trained here is the recorded one."""

from __future__ import annotations

from vddbench.commands.demo import LIVE, RECORDS, STUDENT, TASK, compared


def test_the_same_answers_reproduce_a_record_and_those_of_another_set_do_not() -> None:
    [recorded] = (RECORDS / TASK).glob(f"{LIVE}@*/{STUDENT}/seed0.json")
    [other] = (RECORDS / TASK).glob(f"random@*/{STUDENT}/seed0.json")
    [next_seed] = (RECORDS / TASK).glob(f"{LIVE}@*/{STUDENT}/seed1.json")
    assert "400 of 400 answers are equal\nreproduced: the difference is +0.0" in compared(recorded, recorded)
    assert "\nreproduced: the difference is +1.8" in compared(next_seed, recorded)  # as rounding may change a student
    assert "\nnot reproduced: the difference is -71.0" in compared(other, recorded)
