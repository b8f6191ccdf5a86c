"""`python -m vddbench`."""

from vddbench.commands.main import main

main()
