"""Code that baselines share: the contract of their files, the loop that runs them, and parts to build them from.

contract.py          what a file of baselines/ must have
run.py               `vddbench distill`: runs a baseline and writes its submission
presets.py           which settings a baseline runs with
learn.py, resume.py  the loop of an iterative baseline, and its checkpoints
remedies.py          what messages advise, and which file they name
watch.py, curves.py  scores on validation videos during a run, and plots of it
real_clips.py        random real clips, read ahead
synthetic_clips.py, static_dynamic.py, key_frames.py, parameterisations.py, soft_frames.py   the learned tensors, and payloads
optimiser.py, augment.py   how gradients change them; DSA, the same random change of real and synthetic clips
unrolled_sgd.py            the exact gradient through several steps of SGD
features.py, coresets.py, teacher.py, experts.py      features, choices by class, a trained teacher, expert trajectories
batch_norm_teacher.py                the teacher with batch norm, and the statistics that it remembers
tubes.py, regions.py, stored_clips.py   parts of real videos as candidates, where something moves, payloads with soft labels
cached_work.py       work that is done once and shared by runs, and what it cost

A change here may change what baselines make: the same seed must give the same bytes as before.
"""
