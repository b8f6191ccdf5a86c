"""`python -m vddbench`."""

from vddbench.cli import main

main()
