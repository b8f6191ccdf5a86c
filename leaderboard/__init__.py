"""Turns records into ranks, tables, the site and files on the Hub. Only exchange/ and methods.py import torch.

evidence.py, fresh.py, maintainers.py              valid records; students on fresh seeds, and who may verify
table_records.py                                   which records make up a table, and which may not share one
entry.py, counting.py, rows.py                     entries of a table, which students count for them, and their rows
divisions.py                                       `ipc` and `open`: which records each ranks, and its question
videos.py, bootstrap.py, comparisons.py            uncertainty of scores, of differences, of all pairs of a table
rank.py, gains.py, aggregate.py                    ranks and gains in one table; ranks over all tables
winner.py, frontier.py, headline.py                the corrected best score; the codec curve and the Pareto front; in words
marks.py                                           the marks of a row (external, ...), for every format
tables.py, row_text.py, latex.py                   what `vddbench rank` prints
reported.py, replayed.py                           what papers report, and records of the field's protocol, beside it
paper_numbers.py, paper_table.py                   what `vddbench table` prints
methods.py, methods_text.py                        what `vddbench methods` prints
paired.py, differences.py, power.py                what `vddbench diff` and `vddbench power` print
reruns.py                                          records of people who ran an evaluation again
project.py                                         the address of the code and its citation, for cards on the Hub
every_eval_ever.py                                 ranked entries in a format that other benchmarks share
exchange/ site/ publish/                           sharing records and sets, the web page, the results repo
results/ studies/                                  the records and studies of this repository; not in the wheel

A change that alters numbers in a table needs a simulation in tests/leaderboard that shows why they are better.
"""
