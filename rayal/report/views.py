"""The files of a run folder that are for people: rewritten from the finished stages, never read."""

import json

from rayal.report.curves import draw_run
from rayal.runs.record import Record
from rayal.storage import csv_file


def write_views(record: Record) -> None:
    """`metrics.jsonl`, `curve.csv` and `curve.png`: a row and a point per evaluated cycle."""
    rows = record.cycles()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    record.folder.write("metrics.jsonl", lines.encode())
    record.folder.write("curve.csv", csv_file.dump_records(rows).encode())
    record.folder.write("curve.png", draw_run(record))
