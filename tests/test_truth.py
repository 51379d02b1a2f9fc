"""Labels that the sources came with and those that a person gave are one set: item by item, and the person's last word counts."""

from __future__ import annotations

from pathlib import Path

import pytest

import winnow
from winnow.errors import DataError, InputError
from winnow.label.store import Event, LabelStore
from winnow.pool.pool import Pool
from winnow.run.truth import Truth, of_sources, truth_of

from conftest import stripes, write_pictures


@pytest.fixture
def run(tmp_path: Path) -> winnow.Run:
    """A run of 8 pictures in folders of 4, 6 of them labelled by the list that they came with."""
    write_pictures(tmp_path / "in", 2, 4, stripes)
    return ingested(tmp_path, 6)


def ingested(folder: Path, labelled: int) -> winnow.Run:
    found = sorted((folder / "in").rglob("*.png"))
    rows = [f"{path.relative_to(folder)},{'ab'[n % 2] if n < labelled else ''}" for n, path in enumerate(found)]
    (folder / "list.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
    run = winnow.Run(folder / "run", size=(16, 16))
    run.ingest(folder / "list.csv")
    return run


def pool_of(run: winnow.Run) -> Pool:
    return Pool.open(run.folder.folder("ingest"))


def truth(run: winnow.Run, *files: Path) -> Truth:
    return truth_of(run.folder, pool_of(run), files)


def say(run: winnow.Run, *events: tuple[int, str, str]) -> list[str]:
    """Label, skip or clear items by their number; return the ids of all."""
    ids = pool_of(run).column("id").tolist()
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        store.add_classes("eve", ["a", "b", "c"])
        for row, kind, value in events:
            assert store.add("eve", [Event(f"e{store.seq}", ids[row], kind, value)]).saved
    return ids


def test_a_few_corrections_do_not_replace_what_the_sources_came_with(run: winnow.Run):
    ids = say(run, (0, "label", "b"), (1, "label", "b"), (7, "label", "c"))
    found = truth(run)
    assert [found.labels.get(item) for item in ids] == ["b", "b", "a", "b", "a", "b", None, "c"]
    assert found.origin == (
        "4 of the labels that the sources came with, 3 of the run's labels, 1 of these in the place of another"
    )


def test_the_last_word_of_a_person_counts(run: winnow.Run):
    ids = say(
        run,
        (0, "label", "c"),
        (0, "label", "b"),
        (1, "skip", ""),
        (2, "label", "b"),
        (2, "clear", ""),
        (3, "note", "?"),
    )
    found = truth(run)
    assert [found.labels.get(item) for item in ids] == ["b", None, None, "b", "a", "b", None, None]
    assert found.origin.endswith("; 2 left out as skipped or cleared")
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        uuids = [
            uuid
            for (uuid,) in store._connection.execute("SELECT uuid FROM events WHERE item = ? ORDER BY seq", (ids[0],))
        ]
        store.add("eve", [Event(f"undo {uuid}".replace(" ", "-"), ids[0], "undo", uuid) for uuid in uuids])
    assert truth(run).labels[ids[0]] == "a"  # what was taken back was never said


def test_of_one_kind_alone_the_line_is_short(run: winnow.Run, tmp_path: Path):
    assert (truth(run).origin, len(truth(run).labels)) == ("the labels that the sources came with", 6)
    (tmp_path / "other").mkdir()
    write_pictures(tmp_path / "other" / "in", 2, 4, stripes)
    bare = ingested(tmp_path / "other", 0)
    with pytest.raises(DataError, match="has no labels"):
        truth(bare)
    say(bare, (0, "label", "a"))
    assert (truth(bare).origin, len(truth(bare).labels), len(truth(bare).given)) == ("the run's labels", 1, 1)
    bare.set(folders=True)
    assert truth(bare).origin.startswith("7 of the names of the pictures' folders, 1 of the run's labels")


def test_a_contradiction_between_copies_is_settled_by_a_person(run: winnow.Run, tmp_path: Path):
    first, second = sorted((tmp_path / "in").rglob("*.png"))[:2]
    second.write_bytes(first.read_bytes())
    run.ingest(tmp_path / "list.csv")
    with pytest.raises(InputError, match="One picture has two labels"):
        truth(run)
    ids = say(run, (0, "label", "c"))
    assert truth(run).labels[ids[0]] == "c"
    assert ids[0] not in of_sources(pool_of(run)) and len(of_sources(pool_of(run))) == 4


def test_labels_of_a_file_take_the_place_of_the_runs_own_and_that_is_said(run: winnow.Run, tmp_path: Path):
    ids = say(run, (7, "label", "c"))
    (tmp_path / "four.csv").write_text("id,label\n" + "".join(f"{item},b\n" for item in ids[:4]) + "nobody,a\n")
    found = truth(run, tmp_path / "four.csv")
    assert len(found.labels) == 4 and found.origin == f"{tmp_path}/four.csv: 4 by id"
    assert found.notes == [
        f"1 label is of items that the run does not have: line 6 of {tmp_path}/four.csv: its id is unknown",
        "7 labels of the run itself are not used, as --labels is given.",
    ]
