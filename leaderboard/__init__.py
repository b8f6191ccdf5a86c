"""From records to ranks, tables, the site and the Hub. Only exchange/, which evaluates again, imports torch.

evidence.py, bootstrap.py, rank.py, aggregate.py   valid records, their uncertainty, ranks in one table and over all tables
tables.py, latex.py, reported.py                   what `vddbench rank` prints
paired.py, differences.py, power.py                what `vddbench diff` and `vddbench power` print
reruns.py                                          records of those who ran an evaluation again
exchange/ site/ publish/                           sharing records and sets, the web page, the results repo
results/ studies/                                  the records and studies of this repository; not in the wheel

A change of a number in a table needs a simulation in tests/leaderboard that shows why it is better.
"""
