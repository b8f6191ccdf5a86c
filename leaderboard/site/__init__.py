"""The board as static web pages: `vddbench site build`.

build.py                writes all pages; page_writer.py renders one page and writes it
board.py                data of the board, read from records; entries.py: a row of a table with its records
sections.py             the section of a task; unmeasured.py: of a task without records
charts.py               draws the charts; chart_file.py: for `rank --chart`; downloads.py: tables as CSV and LaTeX
filters.py              numbers and links as text
local_submissions.py    submissions on this machine; payload_views.py: their tensors and previews;
                        kept.py: previews beside the records
dataset_specs.py        the dataset behind a record: names of classes, size of clips
instructions.py         commands that reproduce a submission, BibTeX; protocol_page.py: rows of the protocol page
inventory.py            what a build wrote, so that the next one removes old pages and reuses previews
pages/                  templates, styles, scripts

Pages may change freely as long as they open from disk, show every table without JavaScript, and escape what strangers wrote.
"""
