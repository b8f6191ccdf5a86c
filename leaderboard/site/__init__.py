"""The board as static pages: `vddbench site build`.

build.py                writes all pages; page_writer.py renders one page and writes it
board.py                what the pages show, read from records; entries.py: a row of a table with its records
sections.py             the computed parts of a task's section; charts.py draws; filters.py: numbers and links as text
local_submissions.py    submissions on this machine: manifests, payloads, previews
instructions.py         commands that reproduce an entry, BibTeX; protocol_page.py: rows of the protocol page
inventory.py            what a build wrote, so that the next one removes old pages and reuses previews
pages/                  templates, one style, two scripts
"""
