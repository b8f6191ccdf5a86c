"""What each command takes and prints; `vddbench.commands.main` puts them together.

datasets.py      prepare, datasets
submissions.py   distill, pack, check, schema
results.py       evaluate, rank, diff, power, demo
batch.py         batch, doctor
site.py          site; publish.py: publish
exchange.py      submit, verify, pull, reproduce
studies.py       bench, study
options.py       what they share, and how a command ends when a user errs
"""
