"""Hundreds of cells on a cluster or on one machine: plan, submit, watch, retry, collect.

A cell is one evaluation (submission x student x seed) or one distillation (baseline x task x seed). The state is files in the
run's folder: a cell is done when what it makes is there; the scheduler only explains what isn't.

 plan.py      cells; what a run folder holds
 jobs.py      which job has which cells
 events.py    what happened to a cell: started, ended, and how
 child.py     one cell in a process of its own
 worker.py    the cells of one job, one after the other: attempts, memory, signals
 slurm.py     jobs through submitit, and what Slurm says of them
 local.py     the same cells on this machine's GPUs or cores
 submit.py    pending cells to jobs
 status.py    done, running, pending, failed; screen.py shows it
 collect.py   checks records and copies them to where they are ranked
 follow.py    all of it in one command: vddbench evaluate --cluster
 site.py      a cluster's settings; doctor.py tries them
"""
