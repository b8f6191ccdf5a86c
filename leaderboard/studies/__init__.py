"""Scripts that run in a clone, beside the CSVs that they wrote: `python leaderboard/studies COMMAND`.

__main__.py           the commands and their options
bench/                how fast this machine trains, distils and prepares
protocol_studies.py   studies of precision and learning rate, which the protocol fixes for students
testing_precision.py  answers of the same students in fp32 and in bf16
fit.py                does every student fit its set?
leaks.py              false alarms and detection of the leak scanner
coverage.py worlds.py do intervals, tie groups and `power` keep what they promise? in made-up worlds
sdd.py                how far each fault of the field's released protocol moves a score
settings.py           an iterative baseline at several settings
rows.py               the rows of a study in a CSV file

Nothing here is in the wheel, and nothing here makes records. Studies may be added or dropped freely: a number in docs/ or in a
docstring names the command that measured it.
"""
