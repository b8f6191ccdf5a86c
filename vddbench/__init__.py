"""vddbench: the referee for video dataset distillation.

It fixes the data, the byte budget and the student training, so that the only thing a method can change is the distilled set.
Start with `vddbench.spec`, which has every type that moves between stages.
"""

__version__ = "0.1.0"
