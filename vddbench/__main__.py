"""`python -m vddbench`.

With `-m`, Python puts the current folder first on its search path, so that a file torch.py there would run instead of PyTorch.
The lines below move the folder to the end if it is a clone of vddbench, and else remove it. They cannot help against files
that have the names of modules which Python itself imports earlier; the installed command `vddbench` is immune to those, too.
"""

import os
import sys

if not sys.flags.safe_path and sys.path[0] in {"", os.getcwd()}:  # noqa: PTH109 - pathlib is not imported yet
    here = sys.path.pop(0)
    if __file__ == os.path.join(here, "vddbench", "__main__.py"):  # noqa: PTH118
        sys.path.append(here)  # processes that decode videos find vddbench there

from vddbench.commands.main import main

main()
