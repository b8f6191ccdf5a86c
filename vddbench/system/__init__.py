"""Access to the operating system for all rooms. Nothing here knows what a clip or a record is.

files.py      files that appear whole or not at all, hashes, bounded JSON
locks.py      locks between processes
home.py       $VDDBENCH_HOME, and disk space
cache.py      files that are made once and shared by runs
progress.py   progress bars and messages on stderr
interrupt.py  Ctrl-C and SIGTERM: the current step is finished and saved first
allocator.py  memory that is freed stays in the process
gpus.py       GPUs that the driver lists
device.py     the device that computes, and what a record says about it (the only file here that imports torch)

Add a file only for something that at least two rooms need.
"""
