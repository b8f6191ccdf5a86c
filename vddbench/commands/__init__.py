"""The command line: what each command takes and prints. The only room that may import every other.

main.py         puts the commands together; --plugins, --version
options.py      options that several commands share, and how a user's mistake ends
datasets.py     prepare, datasets
submissions.py  distill, pack, check, schema
methods.py      methods
lists.py        tasks, students
results.py      evaluate, rank, diff, power, demo
table.py        table
demo.py         what `vddbench demo` runs; demo_picture.py draws its table with playing clips
batch.py        batch plan, submit, status, logs, retry, cancel, collect; doctor
cluster_options.py  options of the commands that use a cluster
grid.py         grid
exchange.py     submit, verify, pull, reproduce
publish.py      publish
export.py       export every-eval-ever
site.py         site build
settings.py     repositories that were given once and are remembered

A command only parses its options, calls one function of another room and prints the result. The work belongs in that room.
"""
