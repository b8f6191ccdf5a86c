"""`python -m vddbench`.

With `-m`, Python puts the current folder first on its search path, so that a file torch.py there would run instead of PyTorch.
The lines below remove the folder, unless vddbench itself comes from it, as in a clone. They cannot help against files that have
the names of modules which Python imports earlier; the installed command `vddbench` is immune to those, too.
"""

import os
import sys

if not sys.flags.safe_path and sys.path[0] in {"", os.getcwd()}:  # noqa: PTH109 - pathlib is not imported yet
    is_clone = __file__ == os.path.join(sys.path[0], "vddbench", "__main__.py")  # noqa: PTH118
    sys.path[:1] = sys.path[:1] if is_clone else []

from vddbench.commands.main import main

main()
