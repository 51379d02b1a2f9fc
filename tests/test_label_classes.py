"""Any short line of text may be a class: on the command line, in every format, as a folder, and in the remedies that name it."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest

import winnow
from winnow.data.folder_names import class_of, folder_of
from winnow.errors import OptionError
from winnow.label.classes import as_option, class_list
from winnow.label.formats import FORMATS, read
from winnow.label.store import Event, LabelStore
from winnow.pool.pool import Pool

from conftest import winnow_command
from labelling import make_run

NAMES = ["N/A", "a, b", '"quoted"', "it's", "back\\slash", "..", ".hidden", "50%", "a%2Fb", "metadata.csv", "~", "-x", "=SUM(A1)",
         "<b>&amp;</b>", "$HOME `id`", "می\u200cخواهم", "👨\u200d👩\u200d👧", "label", "id", "null", "train", "好" * 100,
         "ß;\u00a0x"]  # fmt: skip


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> winnow.Run:
    """A run with a picture of every class."""
    folder = tmp_path_factory.mktemp("classes")
    run = winnow.Run(make_run(folder, tuple(f"{number}.png" for number in range(len(NAMES))), groups=1))
    with LabelStore.open(run.folder.path / "labels.sqlite") as store:
        assert store.add_classes("eve", NAMES) == NAMES
        items = Pool.open(run.folder.folder("ingest")).column("id").tolist()
        store.add("eve", [Event(f"e{n}", items[n], "label", name) for n, name in enumerate(NAMES)])
    return run


def empty(run: winnow.Run, folder: Path) -> winnow.Run:
    """Return a run of the same pictures without a label."""
    other = winnow.Run(folder, size=(32, 32))
    other.ingest(run.folder.asked.sources)
    return other


@pytest.mark.parametrize("form", FORMATS)
def test_every_class_goes_round_in_every_format(labelled: winnow.Run, tmp_path: Path, form: str):
    target = tmp_path / ("out" if form == "imagefolder" else f"out.{'csv' if form == 'csv' else 'json'}")
    assert labelled.export_labels(target, format=form).labels == len(NAMES)
    other = empty(labelled, tmp_path / "other")
    refused = winnow_command("label", "--run", other.folder.path, "--import", target)
    assert "The run has no classes yet, and the labels hold" in refused.stderr
    # The remedy is one that works, copied from the terminal into a shell as it is.
    (option,) = re.findall(r"Add them: (--classes.*)$", refused.stderr, re.MULTILINE)
    done = winnow_command("label", "--run", other.folder.path, "--import", target, *shlex.split(option))
    assert done.returncode == 0, done.stderr
    assert {item: label for item, (label, *_) in other.labels().items()} == {
        item: label for item, (label, *_) in labelled.labels().items()
    }


def test_a_folder_a_class_is_read_without_its_table(labelled: winnow.Run, tmp_path: Path):
    labelled.export_labels(tmp_path / "out")
    (tmp_path / "out" / "metadata.csv").unlink()
    short = [name for name in NAMES if len(name.encode()) < 200]
    assert sorted({record.label for record in read(tmp_path / "out")} & set(NAMES)) == sorted(short)
    folders = os.listdir(tmp_path / "out")
    assert len(folders) == len(NAMES) and not any(name.startswith(".") for name in folders)


@pytest.mark.parametrize("folder", ["a%41b", "50%20off", "%", "%zz", "%FF", "100%25", "plain", "~"])
def test_a_folder_of_somebody_elses_keeps_its_name(folder: str):
    assert class_of(folder) == folder
    assert class_of(folder_of(folder)) == folder


def test_a_list_of_names_is_read_as_csv():
    assert class_list('staff, "guests, paying",it\'s , ""') == ["staff", "guests, paying", "it's "]
    assert class_list("") == class_list(" , ") == []
    assert class_list(shlex.split(as_option(NAMES))[1]) == NAMES
    assert as_option(["-x"]) == "--classes=-x"  # else it would be read as another option
    for text in ('a,"b', 'a,"b"c'):
        with pytest.raises(OptionError, match="not a list of names"):
            class_list(text)


def test_names_of_classes_stay_text_in_json(labelled: winnow.Run, tmp_path: Path):
    labelled.export_labels(tmp_path / "c.json", format="coco")
    categories = json.loads((tmp_path / "c.json").read_text())["categories"]
    assert [entry["name"] for entry in categories] == NAMES and len({entry["id"] for entry in categories}) == len(NAMES)
