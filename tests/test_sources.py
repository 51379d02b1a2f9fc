"""Folders, globs, files, lists and imagefolders, local and mixed, stand for the sources a person would expect."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.data import lists, storage
from winnow.data.images import decode
from winnow.data.sources import Expansion, expand
from winnow.errors import InputError, WinnowError

from oddities import card, saved

NAMES = {
    "latin": "élève à Düsseldorf çok ğüzel",
    "greek": "φωτογραφία",
    "cyrillic": "фотография",
    "arabic": "صورة",
    "hebrew": "תמונה",
    "hindi": "तस्वीर",
    "thai": "รูปภาพ",
    "chinese": "图片 照片",
    "japanese": "しゃしん写真",
    "korean": "사진",
    "georgian": "ფოტო",
    "armenian": "նկար",
    "amharic": "ፎቶ",
    "tamil": "படம்",
    "emoji": "🖼️📷",
    "punctuation": "a [1] #2 100% 'x' \"y\" ;,&",
    "decomposed": "e\u0301te\u0301",
}


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def names(found: Expansion, folder: Path) -> list[str]:
    return [os.path.relpath(source.uri, folder) for source in found.sources]


def message(caught: Any) -> str:
    assert caught.value.remedy
    return str(caught.value)


@pytest.mark.parametrize("script", NAMES)
def test_file_names_in_every_script_are_found_and_read(tmp_path: Path, script: str):
    name = NAMES[script]
    (tmp_path / name).mkdir()
    (tmp_path / name / f"{name}.png").write_bytes(saved(card(), "PNG"))
    listed = tmp_path / "list.txt"
    listed.write_text(f"{name}/{name}.png\n", encoding="utf-8")
    for given in (tmp_path / name, tmp_path / name / f"{name}.png", listed, str(tmp_path / "*" / "*.png")):
        (source,) = expand([given]).sources
        assert source.uri == str(tmp_path / name / f"{name}.png")
        assert source.group == str(tmp_path / name)
        assert decode(storage.read(source.uri, 10**6), (4, 4)).shape == (4, 4, 3)


def test_a_folder_is_read_whole_in_natural_order_and_what_is_neither_picture_nor_video_is_counted(tmp_path: Path):
    write(
        tmp_path,
        "frame10.jpg",
        "frame2.jpg",
        "Frame1.PNG",
        "b/clip.mp4",
        "b/2.tif",
        "b/10.tif",
        "a/still.gif",
        "notes.txt",
        "b/table.csv",
        "b/thing",
        ".hidden.jpg",
        ".git/x.jpg",
    )
    found = expand([tmp_path])
    assert names(found, tmp_path) == [
        "a/still.gif",
        "b/2.tif",
        "b/10.tif",
        "b/clip.mp4",
        "Frame1.PNG",
        "frame2.jpg",
        "frame10.jpg",
    ]
    assert found.skipped == 3
    assert not found.refused
    kinds = {os.path.basename(source.uri): (source.kind, source.group) for source in found.sources}
    assert kinds["still.gif"] == ("video", str(tmp_path / "a/still.gif"))
    assert kinds["clip.mp4"] == ("video", str(tmp_path / "b/clip.mp4"))
    assert kinds["2.tif"] == ("image", str(tmp_path / "b"))
    assert all(source.label == source.split == "" for source in found.sources)


def test_the_same_file_is_kept_once_where_it_was_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "a/1.jpg", "a/2.jpg", "b/1.jpg")
    monkeypatch.chdir(tmp_path)
    found = expand(["./a/2.jpg", "a", tmp_path / "b" / ".." / "a", Path("b"), "a/*.jpg"])
    assert names(found, tmp_path) == ["a/2.jpg", "a/1.jpg", "b/1.jpg"]


def test_a_mark_changes_with_the_content(tmp_path: Path):
    write(tmp_path, "1.jpg")
    before = expand([tmp_path]).sources[0].mark
    assert expand([tmp_path]).sources[0].mark == before
    (tmp_path / "1.jpg").write_bytes(b"longer")
    assert expand([tmp_path]).sources[0].mark != before


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/**/*.jpg", ["a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg"]),
        ("a/*.jpg", ["a/1.jpg"]),
        ("*/b", ["a/b/2.jpg", "a/b/c/3.jpg"]),
        ("**/c/*", ["a/b/c/3.jpg"]),
        ("a/b/c/*.d?ta", ["a/b/c/odd.data"]),
        ("a/**", ["a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg"]),
        ("a/b/[0-9].jpg", ["a/b/2.jpg"]),
        ("a/b/c/*.data", ["a/b/c/odd.data"]),
    ],
)
def test_globs(tmp_path: Path, pattern: str, expected: list[str]):
    write(tmp_path, "a/1.jpg", "a/b/2.jpg", "a/b/c/3.jpg", "a/b/c/odd.data", "a/note.txt")
    if "?" in pattern:
        with pytest.raises(InputError, match="holds no picture or video"):
            expand([str(tmp_path / pattern)])
    else:
        assert sorted(names(expand([str(tmp_path / pattern)]), tmp_path)) == expected


def test_a_glob_of_lists_reads_the_lists_and_a_file_with_brackets_is_itself(tmp_path: Path):
    write(tmp_path, "1.jpg", "2.jpg", "[1].jpg")
    (tmp_path / "x.txt").write_text("1.jpg\n")
    (tmp_path / "y.txt").write_text("2.jpg\n")
    assert names(expand([str(tmp_path / "*.txt")]), tmp_path) == ["1.jpg", "2.jpg"]
    assert names(expand([str(tmp_path / "[1].jpg")]), tmp_path) == ["[1].jpg"]


def test_a_named_file_of_unknown_suffix_is_a_picture_judged_by_its_content(tmp_path: Path):
    write(tmp_path, "scan.xyz", "noend")
    assert [source.kind for source in expand([tmp_path / "scan.xyz", tmp_path / "noend"]).sources] == ["image", "image"]


def test_a_text_list_has_comments_blank_lines_windows_ends_and_missing_files(tmp_path: Path):
    write(tmp_path, "in/1.jpg", "in/a b.jpg", "clip.mp4")
    listed = tmp_path / "in" / "list.txt"
    listed.write_bytes(
        b"\xef\xbb\xbf# all of them\r\n\r\n1.jpg\r\n  a b.jpg  \r\n../clip.mp4\r\nmissing.jpg\r\n"
        + str(tmp_path / "in" / "1.jpg").encode()
        + b"\r\n..\r\n"
    )
    found = expand([listed])
    assert names(found, tmp_path) == ["in/1.jpg", "in/a b.jpg", "clip.mp4"]
    assert [refusal.source for refusal in found.refused] == [str(tmp_path / "in/missing.jpg"), str(tmp_path)]
    assert "does not exist" in found.refused[0].reason
    assert "folder" in found.refused[1].reason


TABLE = [
    {"path": "1.jpg", "group": "match 1", "class": "good", "split": "train", "width": 3},
    {"path": "2.jpg", "group": "", "class": "bad", "split": "VAL", "width": 4},
    {"path": "clip.mp4", "group": "match 1", "class": "", "split": "calib", "width": 5},
    {"path": "clip2.mp4", "group": "", "class": "", "split": "", "width": 5},
]


def table(folder: Path, kind: str) -> Path:
    write(folder, "1.jpg", "2.jpg", "clip.mp4", "clip2.mp4")
    path = folder / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(TABLE), path)
        return path
    mark = {"csv": ",", "semicolon.csv": ";", "tab.csv": "\t"}[kind]
    lines = [mark.join(TABLE[0]), *(mark.join(str(value) for value in row.values()) for row in TABLE)]
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("kind", ["csv", "semicolon.csv", "tab.csv", "parquet"])
def test_tables_give_group_label_and_split(tmp_path: Path, kind: str):
    found = expand([table(tmp_path, kind)]).sources
    here = str(tmp_path)
    assert [(source.group, source.label, source.split, source.kind) for source in found] == [
        ("match 1", "good", "train", "image"),
        (here, "bad", "validate", "image"),
        ("match 1", "", "calibrate", "video"),
        (f"{here}/clip2.mp4", "", "", "video"),
    ]


@pytest.mark.parametrize("column", ["path", "file_name", "source", "image", "Path", " path "])
def test_the_column_of_paths_has_four_names(tmp_path: Path, column: str):
    write(tmp_path, "1.jpg")
    (tmp_path / "list.csv").write_text(f"label,{column}\n3,1.jpg\n,\n4,\n")
    found = expand([tmp_path / "list.csv"])
    assert [source.label for source in found.sources] == ["3"]
    assert ["row 4" in refusal.reason.lower() for refusal in found.refused] == [True]


def test_a_column_that_is_there_twice_is_refused_where_it_is_read(tmp_path: Path):
    write(tmp_path, "1.jpg")
    (tmp_path / "list.csv").write_text("path,remark,remark,Label,label\n1.jpg,,,a,b\n")
    with pytest.raises(InputError, match="two columns 'label'"):
        expand([tmp_path / "list.csv"])
    (tmp_path / "list.csv").write_text("path,remark,remark,label\n1.jpg,,,a\n")
    assert [source.label for source in expand([tmp_path / "list.csv"]).sources] == ["a"]
    (tmp_path / "list.jsonl").write_text('{"path": "1.jpg"}\n{"path": "1.jpg", "label": "a", "label": "b"}\n')
    with pytest.raises(InputError, match=r"Line 2 of .* has two columns 'label'"):
        expand([tmp_path / "list.jsonl"])
    twice = pa.table([["1.jpg"], ["a"], ["b"]], names=["path", "Label", "label"])
    pq.write_table(twice, tmp_path / "list.parquet")
    with pytest.raises(InputError, match="two columns 'label'"):
        expand([tmp_path / "list.parquet"])


def test_the_case_of_a_column_counts_in_no_list(tmp_path: Path):
    write(tmp_path, "1.jpg")
    (tmp_path / "list.csv").write_text("Path, LABEL\n1.jpg,a\n")
    (tmp_path / "list.jsonl").write_text('{"Path": "1.jpg", " LABEL": "a"}\n')
    pq.write_table(pa.table({"Path": ["1.jpg"], " LABEL": ["a"]}), tmp_path / "list.parquet")
    for name in ("list.csv", "list.jsonl", "list.parquet"):
        assert [source.label for source in expand([tmp_path / name]).sources] == ["a"], name


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("train", "train"),
        ("val", "validate"),
        ("valid", "validate"),
        ("Validation", "validate"),
        ("dev", "validate"),
        ("calibration", "calibrate"),
        ("calib", "calibrate"),
        ("calibrate", "calibrate"),
        ("test", "test"),
        ("eval", "test"),
    ],
)
def test_names_of_splits(tmp_path: Path, given: str, meant: str):
    write(tmp_path, "1.jpg")
    (tmp_path / "list.csv").write_text(f"path,split\n1.jpg,{given}\n")
    assert expand([tmp_path / "list.csv"]).sources[0].split == meant


BROKEN = {
    "latin.csv": ("path\ncaf\xe9.jpg\n".encode("latin-1"), "not UTF-8 text (byte 0xe9 in line 2)"),
    "utf16.csv": ("path\n1.jpg\n".encode("utf-16"), "not UTF-8 text"),
    "zeros.csv": (b"path\n\0\0\n", "zero bytes"),
    "typo.csv": (b"pth,label\n1.jpg,a\n", "Did you mean 'pth'"),
    "none.csv": (b"a,b\n1,2\n", "Its columns are: a, b."),
    "empty.csv": (b"", "no column 'path'"),
    "head.csv": (b"path\n", "names no file"),
    "quotes.csv": (b'path\n"1.jpg\n', "not a CSV table"),
    "split.csv": (b"path,split\n1.jpg,trian\n", "'train'"),
    "row.csv": (b"path,split\n1.jpg,train\n1.jpg,third\n", "Row 3 of"),
    "empty.txt": (b"# nothing\n\n", "names no file"),
    "latin.txt": (b"caf\xe9.jpg\n", "not UTF-8"),
    "bad.parquet": (b"PAR1 no PAR1", "parquet"),
    "bad.jsonl": (b"{'a'}\n", "Line 1 of"),
    "list.jsonl": (b"[1]\n", "not a JSON object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_lists_are_one_sentence_and_a_remedy(tmp_path: Path, name: str):
    write(tmp_path, "1.jpg")
    data, words = BROKEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        expand([tmp_path / name])
    assert words in message(caught)
    assert name in message(caught)


def test_a_parquet_of_pictures_instead_of_paths_says_so(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist([{"image": {"bytes": b"x", "path": "1.jpg"}}]), tmp_path / "list.parquet")
    with pytest.raises(InputError, match="holds no paths"):
        expand([tmp_path / "list.parquet"])


@pytest.mark.parametrize("name", ["path", "group", "label", "class", "split", "time", "box"])
def test_half_a_character_in_a_list_is_named_and_the_other_rows_are_read(tmp_path: Path, name: str):
    write(tmp_path, "1.jpg")
    values = {"path": "2.jpg", name: "\udc80.jpg"}
    (tmp_path / "list.jsonl").write_text(f'{{"path": "1.jpg"}}\n{json.dumps(values)}\n')
    found = expand([tmp_path / "list.jsonl"])
    assert names(found, tmp_path) == ["1.jpg"]
    (refused,) = found.refused
    assert refused.reason.startswith(f"Row 2 of {tmp_path / 'list.jsonl'} has a {name} with half a character")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('{"path": "http://example.org/1.jpg"}', "not an address Winnow can read"),
        ('{"path": "s3:///1.jpg"}', "names no bucket"),
        ('{"label": "a", "path": ""}', "names no file"),
        ('{"path": "f.mp4", "time": "soon"}', "the time 'soon', which is no number of seconds"),
        ('{"path": "f.mp4", "time": -1}', "no number of seconds"),
        ('{"path": "1.jpg", "box": "1,2,3"}', "not of the form x,y,width,height"),
        ('{"path": "1.jpg", "box": "1,2,0,4"}', "which holds nothing"),
        (f'{{"path": "{"a" * 5000}"}}', "a path of 5,000 characters"),
        ('{"path": "\\u0000.jpg"}', "null byte"),
    ],
)
def test_a_row_that_names_nothing_is_refused_by_name_and_the_other_rows_are_read(tmp_path: Path, row: str, words: str):
    write(tmp_path, "1.jpg", "f.mp4")
    (tmp_path / "list.jsonl").write_text(f'{{"path": "1.jpg"}}\n{row}\n')
    found = expand([tmp_path / "list.jsonl"])
    assert names(found, tmp_path) == ["1.jpg"]
    (refused,) = found.refused
    assert words in refused.reason and (f"Row 2 of {tmp_path / 'list.jsonl'}" in refused.reason or "null" in words)


def test_what_is_missing_in_a_table_is_no_class(tmp_path: Path):
    write(tmp_path, "1.jpg", "2.jpg")
    (tmp_path / "list.jsonl").write_text('{"path": "1.jpg", "label": NaN}\n{"path": "2.jpg", "label": null}\n')
    pq.write_table(pa.table({"path": ["1.jpg", "2.jpg"], "label": [1.0, float("nan")]}), tmp_path / "list.parquet")
    assert [one.label for one in expand([tmp_path / "list.jsonl"]).sources] == ["", ""]
    assert [one.label for one in expand([tmp_path / "list.parquet"]).sources] == ["1.0", ""]


def large_lists(folder: Path) -> dict[str, pa.Table]:
    rows = 2_000_000
    one = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["1.jpg"]))
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(9000, np.int32)), pa.array(["a" * 1_000_000]))
    return {
        "rows": pa.table({"path": one}),
        "values": pa.table({"path": long}),
        "text": pa.table({"path": ["1.jpg", "a" * 200_000_000]}),
    }


@pytest.mark.parametrize("kind", ["rows", "values", "text"])
def test_a_small_list_that_unpacks_to_much_is_refused_at_once(tmp_path: Path, kind: str):
    write(tmp_path, "1.jpg")
    path = tmp_path / f"{kind}.parquet"
    pq.write_table(large_lists(tmp_path)[kind], path, compression="zstd")
    assert path.stat().st_size < 100_000
    before, started = pa.total_allocated_bytes(), time.monotonic()
    with pytest.raises(InputError, match=r"more than a list can have|holds a path of 1,000,000 bytes in rows 1 to"):
        expand([path])
    assert time.monotonic() - started < 5 and pa.total_allocated_bytes() - before < 1 << 28


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "txt"])
def test_a_damaged_list_is_a_sentence(tmp_path: Path, kind: str):
    write(tmp_path, "1.jpg", "f.mp4")
    rows = [
        {"path": "1.jpg", "label": "a", "split": "train", "time": 1.0, "box": "0,0,4,4"},
        {"path": "f.mp4", "time": 2.5},
    ]
    path = tmp_path / f"list.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        lines = {
            "csv": "path,label,split\n1.jpg,a,train\nf.mp4,,\n",
            "jsonl": "\n".join(map(json.dumps, rows)),
            "txt": "1.jpg\nf.mp4\n",
        }
        path.write_text(lines[kind])
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        data = np.frombuffer(whole, np.uint8).copy()
        data[rng.integers(len(data), size=rng.integers(1, 4))] ^= np.uint8(1) << rng.integers(8, dtype=np.uint8)
        path.write_bytes(data[: len(data) if rng.random() < 0.7 else rng.integers(1, len(data))].tobytes())
        with contextlib.suppress(WinnowError):
            expand([path])


def test_a_list_of_more_rows_than_there_are_files_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "1.jpg")
    monkeypatch.setattr(lists, "MOST_ROWS", 1000)
    for name, text in (("a.txt", "1.jpg\n"), ("a.csv", "1.jpg\n"), ("a.jsonl", '{"path": "1.jpg"}\n')):
        (tmp_path / name).write_text(("path\n" if name == "a.csv" else "") + text * 1001)
        with pytest.raises(InputError, match="more than 1,000 rows"):
            expand([tmp_path / name])


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_imagefolder_with_metadata(tmp_path: Path, kind: str):
    write(tmp_path, "train/1.jpg", "train/cat/2.jpg", "validation/3.jpg", "test/4.jpg", "test/x.data", "5.jpg")
    given = {
        "csv": "file_name,label,group,split\n1.jpg,dog,g1,\ncat/2.jpg,,,\ngone.jpg,,,\n",
        "jsonl": '{"file_name": "1.jpg", "label": "dog", "group": "g1", "text": "a\u2028b"}\n{"file_name": "gone.jpg"}\n',
    }
    (tmp_path / "train" / f"metadata.{kind}").write_text(given[kind], encoding="utf-8")
    (tmp_path / "test" / "metadata.csv").write_text("file_name,label,split\n4.jpg,9,calibration\nx.data,8,\n")
    found = expand([tmp_path])
    assert {
        os.path.relpath(source.uri, tmp_path): (source.label, source.group, source.split) for source in found.sources
    } == {
        "train/1.jpg": ("dog", "g1", "train"),
        "train/cat/2.jpg": ("cat", str(tmp_path / "train/cat"), "train"),
        "validation/3.jpg": ("", str(tmp_path / "validation"), "validate"),
        "test/4.jpg": ("9", str(tmp_path / "test"), "calibrate"),
        "test/x.data": ("8", str(tmp_path / "test"), "test"),
        "5.jpg": ("", str(tmp_path), ""),
    }
    assert [os.path.relpath(refusal.source, tmp_path) for refusal in found.refused] == ["train/gone.jpg"]
    assert found.skipped == 0


def test_split_folders_count_beside_train_only(tmp_path: Path):
    write(tmp_path, "one/train/cat/1.jpg", "one/dev/dog/2.jpg", "two/test/3.jpg", "two/more/4.jpg")
    assert [(source.split, source.label) for source in expand([tmp_path / "one"]).sources] == [
        ("validate", "dog"),
        ("train", "cat"),
    ]
    assert [source.split for source in expand([tmp_path / "two"]).sources] == ["", ""]


def test_all_kinds_are_mixed_in_one_call(tmp_path: Path):
    write(tmp_path, "folder/1.jpg", "glob/2.jpg", "film.mp4", "moving.gif", "in.csv")
    (tmp_path / "list.txt").write_text("glob/2.jpg\nfolder/1.jpg\n")
    found = expand(
        [
            tmp_path / "film.mp4",
            tmp_path / "folder",
            str(tmp_path / "gl*"),
            tmp_path / "list.txt",
            str(tmp_path / "moving.gif"),
        ]
    )
    assert names(found, tmp_path) == ["film.mp4", "folder/1.jpg", "glob/2.jpg", "moving.gif"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("missing.jpg", "does not exist"),
        ("missing/", "does not exist"),
        ("empty", "holds no picture or video"),
        ("other", "1 other files were passed over"),
        ("*.jpg", "matches no file"),
        ("missing/**/*.jpg", "matches no file"),
        ("missing.csv", "does not exist"),
        ("http://example.org/a.jpg", "s3://bucket/key"),
    ],
)
def test_inputs_that_stand_for_nothing_are_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write(tmp_path, "other/notes.doc")
    with pytest.raises(InputError) as caught:
        expand([given])
    assert words in message(caught)
    assert given.rstrip("/") in message(caught)


def test_no_input_at_all_is_an_error():
    for nothing in ([], [""]):
        with pytest.raises(InputError):
            expand(nothing)


def test_what_cannot_be_opened_is_refused_in_a_folder_and_an_error_by_name(tmp_path: Path):
    write(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    found = expand([tmp_path])
    assert names(found, tmp_path) == ["1.jpg"]
    assert {os.path.basename(refusal.source) for refusal in found.refused} == {"pipe.jpg", "broken.jpg"}
    for pattern in ("*.jpg", "**/*.jpg"):
        found = expand([str(tmp_path / pattern)])
        assert names(found, tmp_path) == ["1.jpg"]
        assert len(found.refused) == 2
    with pytest.raises(InputError, match="a pipe"):
        expand([tmp_path / "pipe.jpg"])


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path):
    write(tmp_path, "1.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).write_bytes(b"x")
    found = expand([tmp_path])
    assert names(found, tmp_path) == ["1.jpg"]
    (refused,) = found.refused
    assert refused.source.endswith("caf\\udce9.jpg")
    assert "UTF-8" in refused.reason


def test_the_order_is_that_of_a_plain_sort_by_numbers(tmp_path: Path):
    rng = np.random.default_rng(0)
    given = [f"f{rng.integers(0, 3)}/{rng.integers(0, 2000)}.jpg" for _ in range(300)]
    write(tmp_path, *given)
    right = sorted(set(given), key=lambda name: (name.split("/")[0], int(name.split("/")[1].removesuffix(".jpg"))))
    assert names(expand([tmp_path]), tmp_path) == right


# ---- pictures that are not read


def test_pictures_that_cannot_be_read_are_refused_and_other_files_told_of(tmp_path: Path):
    write(
        tmp_path,
        "a.jpg",
        "b.heic",
        "c.pgm",
        "d.jp2",
        "e.CR2",
        "f.psd",
        "g.svg",
        "h.dcm",
        "notes.txt",
        "x.json",
        "y.json",
        "LICENSE",
    )
    found = expand([tmp_path])
    assert names(found, tmp_path) == ["a.jpg", "b.heic", "c.pgm", "d.jp2"]
    assert {os.path.basename(one.source): one.reason for one in found.refused} == {
        "e.CR2": "it is a raw picture of a camera (.cr2), which is not read: convert it to PNG, TIFF or JPEG",
        "f.psd": "it is a Photoshop file (.psd), which is not read: convert it to PNG, TIFF or JPEG",
        "g.svg": "it is a drawing of lines, not a picture of pixels (.svg), which is not read: convert it to PNG, TIFF or JPEG",
        "h.dcm": "it is a DICOM picture (.dcm), which is not read: convert it to PNG, TIFF or JPEG",
    }
    assert found.skipped == 4
    assert found.notes == [
        f"4 other files were passed over (2 .json, 1 without a suffix, 1 .txt), first {tmp_path}/LICENSE."
    ]
    assert len(expand([tmp_path / "*"]).refused) == 4


def test_a_raw_file_beside_the_picture_that_the_camera_made_of_it_is_passed_over(tmp_path: Path):
    write(tmp_path, "1/IMG_1.CR2", "1/IMG_1.JPG", "1/IMG_2.CR2", "2/IMG_1.CR2")
    for given in (tmp_path, tmp_path / "?" / "*"):
        found = expand([given])
        assert [os.path.relpath(one.source, tmp_path) for one in found.refused] == ["1/IMG_2.CR2", "2/IMG_1.CR2"]
        assert found.skipped == 1 and "1 other file was passed over (1 .cr2), first" in found.notes[0]
