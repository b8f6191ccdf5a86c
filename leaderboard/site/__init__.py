"""The board as static pages: `vddbench site build`.

build.py        what is on every page; writer.py renders and writes them
built.py        what a build wrote and read of payloads, so that the next one can clear it away, or show it elsewhere
board.py        all that is shown, from records; lines.py: a row of a table with what it stands on
views.py        what a task's part of the board says; charts.py draws it; filters.py: numbers and links as text
submitted.py    manifests, payloads and previews of submissions; steps.py: the commands that make one again, BibTeX
fixed.py        the protocol page, from the frozen object
pages/          templates, one style, two scripts
"""
