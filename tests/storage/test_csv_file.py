"""Tables for people: nothing in them is computed, and every row stays one row."""

import csv
import io

from rayal.storage import csv_file


def test_cells_by_hand() -> None:
    """An id would run as a formula (F06), or a carriage return in it would end the row."""
    rows = [["=1+1", -1.5, None], ["a\rb", 2, "'x"], ['a"b,c\nd', 0.1, "-"]]
    data = csv_file.table(["id", "score", "reason"], rows)

    assert data.startswith(b"id,score,reason\r\n'=1+1,-1.5,\r\n")
    assert [
        ["id", "score", "reason"],
        ["'=1+1", "-1.5", ""],
        ["a\rb", "2", "''x"],
        ['a"b,c\nd', "0.1", "'-"],
    ] == list(csv.reader(io.StringIO(data.decode(), newline="")))
