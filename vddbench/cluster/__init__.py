"""Hundreds of cells on Slurm or on this machine: plan, submit, watch, retry, collect.

A cell is one evaluation (submission x student x seed) or one distillation (baseline x task x seed). It is done when the file
that it makes exists; Slurm and the attempts of jobs only explain why a file is missing. Everything here may change, because the
evaluation room makes the scores, and old runs need not be readable.

plan.py       cells; the files of a run                   cells.py     makes evaluations and distillations as cells
planning.py   which cells are missing                     durations.py how long cells should take
measured_durations.py the same, from speeds of this machine
grid.py       the cells of a published table
resources.py  what a task asks for: options, site         jobs.py      which job has which cells, attempts at them
submit.py     cells to jobs: submit, retry, cancel        slurm.py     submitit and Slurm's commands
local.py      this machine's GPUs or cores                worker.py    the cells of a task; child.py: the process of one cell
status.py     done, running, pending, failed              screen.py    the plan and the status on the terminal
access.py     who can write to a run's folder
collect.py    checks and copies records                   follow.py    all steps in one: evaluate --cluster, grid
doctor.py     checks a site
"""
