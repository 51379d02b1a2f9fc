"""The table of inputs that cannot be used: what is given in the place of pictures, and what the sentence must say."""

from __future__ import annotations

from spoiling import Misuse, bytes_name, cut, drawing, loop, making, pipe, writing

GIVEN = [  # name, what is given, what the sentence says, what makes it, whether it may work
    ("a missing folder", "nofolder", "nofolder", making("other"), False),
    ("an empty folder", "shots", "shots", making("shots"), False),
    ("an empty name", "''", "empty name", making("shots"), False),
    ("a folder without pictures", "shots", "shots", writing("shots/notes.md", "no picture"), False),
    ("a glob of nothing", "'*.jpeg'", r"\*\.jpeg", making("shots"), False),
    ("an address of the web", "https://example.invalid/a.png", "https?:", making("shots"), False),
    ("s3 without a bucket", "s3://", "s3", making("shots"), False),
    ("half a picture", "in.png", r"in\.png", cut, False),
    ("an empty picture", "in.png", r"in\.png", writing("in.png", ""), False),
    ("a text called a picture", "in.png", r"in\.png", writing("in.png", "a text"), False),
    ("a text called a video", "in.mp4", r"in\.mp4", writing("in.mp4", "a text"), False),
    ("an empty list", "in.txt", r"in\.txt", writing("in.txt", ""), False),
    ("a list of missing files", "in.txt", "none1", writing("in.txt", "none1.png\nnone2.png\n"), False),
    ("a list that is not UTF-8", "in.txt", r"in\.txt", writing("in.txt", b"\xff\xfe\n"), False),
    ("a table without sources", "in.csv", r"in\.csv", writing("in.csv", "a,b\n1,2\n"), False),
    (
        "a table with an unknown split",
        "in.csv",
        "split|holiday",
        writing("in.csv", "path,split\nx.png,holiday\n"),
        False,
    ),
    ("a text called a parquet table", "in.parquet", r"in\.parquet", writing("in.parquet", "a text"), False),
    ("a folder called a list", "in.txt", r"in\.txt", making("in.txt"), False),
    ("a device", "/dev/null", "/dev/null", making("shots"), False),
    ("a pipe called a picture", "shots", "shots", pipe, False),
    ("a name that is too long", 300 * "n" + ".png", "nnnn", making("shots"), False),
    ("a path that is too long", 1000 * "nnnn/" + "n.png", "nnnn", making("shots"), False),
    ("names with line breaks", "shots", "shots", drawing("shots/a\nb.png", "shots/c\rd.png"), True),
    ("names that are not UTF-8", "shots", "shots", bytes_name, True),
    ("a folder that holds itself", "shots", "shots", loop, True),
    ("a file given by a name that is not UTF-8", "shots/*", "shots", bytes_name, True),
]
INPUTS = [
    *(
        Misuse(f"score {name}", "score --run {run} --to {out} -- " + given, says, prepare, may_work=may_work)
        for name, given, says, prepare, may_work in GIVEN
    ),
    *(
        Misuse(f"run {name}", "run {tiny} --to {new} -- " + given, says, prepare)
        for name, given, says, prepare, may_work in GIVEN
        if not may_work
    ),
    *(
        Misuse(f"ingest {name}", "ingest --run {new} -- " + given, says, prepare, may_work=True)
        for name, given, says, prepare, may_work in GIVEN
        if may_work
    ),
]
