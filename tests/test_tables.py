"""One writer and one reader of CSV tables: what is written comes back, and what is no such table is named."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from winnow.embeddings import spread
from winnow.errors import Damaged, RunError
from winnow.pool.splits import deal_out
from winnow.tables import parse, read_table, write_table


def test_what_is_written_is_read(tmp_path: Path):
    rows = [("a,b", 'say "x"'), ("line\nbreak", ""), ("試合", "1")]
    write_table(tmp_path / "t.csv", ("name", "value"), iter(rows))
    assert [tuple(row.values()) for row in read_table(tmp_path / "t.csv")] == rows
    write_table(tmp_path / "t.csv", ("name",), [])
    assert read_table(tmp_path / "t.csv") == []
    assert (tmp_path / "t.csv").read_bytes() == b"name\n"


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"a,a\n1,2\n", b"a,b\n1\n", b"a,b\n1,2,3\n", b"a,b\n1,\xff\n", b'a,b\n1,"2\n']
)
def test_what_is_no_table_is_damaged(tmp_path: Path, content: bytes):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(Damaged, match=r"t\.csv"):
        read_table(tmp_path / "t.csv")


def test_a_table_that_is_missing_or_a_folder(tmp_path: Path):
    with pytest.raises(RunError, match="is missing"):
        read_table(tmp_path / "t.csv")
    with pytest.raises(Damaged, match="cannot be read"):
        read_table(tmp_path)


def test_a_writer_that_fails_leaves_the_table_that_was(tmp_path: Path):
    write_table(tmp_path / "t.csv", ("a",), [("1",)])
    with pytest.raises(ZeroDivisionError):
        write_table(tmp_path / "t.csv", ("a",), ([1 // n] for n in (1, 0)))
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert read_table(tmp_path / "t.csv") == [{"a": "1"}]


def test_tables_of_others_are_parsed_by_their_delimiter():
    assert list(parse('a;b\n"1;2";3\n')) == [(1, ["a", "b"]), (2, ["1;2", "3"])]
    assert [cells for _, cells in parse("a\tb\n1\t2\n")] == [["a", "b"], ["1", "2"]]
    with pytest.raises(csv.Error, match="line 2"):
        list(parse('a,b\n"1,2\n'))


def test_rows_are_spread_evenly():
    assert spread(0, 5).tolist() == []
    assert spread(3, 5).tolist() == [0, 1, 2]
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    for n in (1, 2, 63, 64, 65, 1000):
        rows = spread(n, 64)
        assert len(rows) == min(n, 64) and (np.diff(rows) > 0).all() and rows[0] == 0 and rows[-1] == n - 1


def test_units_are_dealt_to_the_emptiest_fold():
    assert deal_out(np.array([1, 5, 2, 4]), np.array([0, 0]), 0).tolist() == [0, 0, 1, 1]
    assert deal_out(np.array([3, 3]), np.array([9, 0, 0]), 0).min() == 1
    assert deal_out(np.array([], int), np.array([0, 0]), 0).tolist() == []
