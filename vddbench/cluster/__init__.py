"""Hundreds of cells on a cluster or on one machine: plan, submit, watch, retry, collect.

A cell is one evaluation (submission x student x seed) or one distillation (baseline x task x seed). The state is files in the
run's folder: a cell is done when what it makes is there; the scheduler only explains what isn't.

 plan.py       cells; what a run folder holds
 planning.py   what there is to do; estimates.py: how long it takes
 submit.py     pending cells to jobs; jobs.py: which job has which cells
 slurm.py      jobs through submitit, and what Slurm says of them
 local.py      the same on this machine's GPUs or cores
 worker.py     the cells of a task, one after the other: attempts, memory, signals
 child.py      one cell in a process of its own
 events.py     what happened to a cell: started, ended, and how
 status.py     done, running, pending, failed; screen.py: shown
 retry.py      failed cells again; cancelling
 collect.py    checks records and copies them to where they are ranked
 follow.py     all of it in one command: vddbench evaluate --cluster
 site.py       a cluster's settings; doctor.py: do they work?
 bench.py      how long planning and looking take
"""
