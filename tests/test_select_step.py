"""The step on small runs: every option, lists that grow, labels given elsewhere, kills, and input that is wrong."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import winnow
from winnow.errors import Damaged, DataError, InputError, OptionError, RunError
from winnow.files import sha256
from winnow.label.store import Event
from winnow.pool.pool import Pool
from winnow.report import style
from winnow.report.html import Share
from winnow.report.selection import choice_map, flat_map, in_proportion
from winnow.results import LeftOut, Selected
from winnow.run.labels import catalogue_of, open_store
from winnow.select.choose import AT_RANDOM, OF_CLUSTER
from winnow.show import select as told
from winnow.steps import select as step_file
from winnow.steps.report.pictures import OwnPictures
from winnow.steps.report.selection import selection_sections, stale_selection
from winnow.steps.select import BEFORE, COLUMNS, OUTLIER_COLUMNS
from winnow.tables import read_table

import videos
from conftest import blocks, stripes, winnow_command, write_pictures
from spoiling import rewrite, set_options

pytestmark = pytest.mark.slow

TINY = {
    "size": (32, 32),
    "width": 4,
    "latent": 4,
    "iterations": 30,
    "batch_size": 8,
    "check_every": 10,
    "precision": "float32",
}


def trained(folder: Path, source: Path, **options: object) -> Path:
    run = winnow.Run(folder, "", **{**TINY, **options})
    run.ingest(source)
    run.train()
    run.encode()
    run.calibrate()
    return folder


@pytest.fixture(scope="module")
def film_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a video in which each scene stays for three seconds, two frames a second."""
    folder = tmp_path_factory.mktemp("film")
    rng = np.random.default_rng(0)
    scenes = [stripes(rng, 64) for _ in range(20)]
    noise = np.random.default_rng(1)
    frames = [
        (scenes[number // 12] + noise.normal(0, 6, scenes[0].shape)).clip(0, 255).astype(np.uint8)
        for number in range(240)
    ]
    videos.write(folder / "film.mp4", frames, rate=4)
    return trained(folder / "run", folder / "film.mp4", every=0.5)


@pytest.fixture(scope="module")
def junk_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a hundred striped pictures among which there are five of another kind."""
    folder = tmp_path_factory.mktemp("junk")
    write_pictures(folder / "in", 8, 12)
    rng = np.random.default_rng(5)
    for number in range(5):
        Image.fromarray(blocks(rng)).save(folder / "in" / f"clip{number}" / "junk.png")
    return trained(folder / "run", folder / "in", iterations=100)


@pytest.fixture(autouse=True)
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map of a hundred pictures takes a second; the tests draw many."""
    monkeypatch.setattr(step_file, "MAPPED", 10)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> winnow.Run:
    shutil.copytree(finished_run, tmp_path / "run")
    return winnow.Run(tmp_path / "run")


def copied(path: Path, to: Path) -> winnow.Run:
    shutil.copytree(path, to)
    return winnow.Run(to)


def rows_of(run: winnow.Run, name: str = "selection.csv") -> list[dict[str, str]]:
    with (run.folder.path / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ids_of(run: winnow.Run, name: str = "selection.csv") -> list[str]:
    return [row["id"] for row in rows_of(run, name)]


def test_the_list_and_what_lies_beside_it(run: winnow.Run):
    result = run.select(12, duplicate_distance=0)
    rows = rows_of(run)
    assert list(rows[0]) == list(COLUMNS)
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 13)]
    assert len(set(ids_of(run))) == 12 and {row["method"] for row in rows} == {"herding"}
    assert sum(int(row["stands_for"]) for row in rows) == result.candidates
    assert all(Path(row["source"]).exists() and row["time"] == "" and row["why"] for row in rows)
    assert {int(row["cluster"]) for row in rows} <= {int(kind) for kind in result.kinds}
    assert sum(pictures for pictures, _ in result.kinds.values()) == 96
    assert sum(chosen for _, chosen in result.kinds.values()) == 12
    for name in ("selection.png", "selection-map.png"):
        assert Image.open(run.folder.path / name).size[0] == style.WIDTH * style.DOTS_PER_INCH
    assert result.chosen == result.asked == 12 and result.kept == 0
    assert "Chose 12 of 96 pictures" in told(result, "r") and "32 dimensions" not in told(result, "r")


def test_the_manifest_says_what_makes_the_choice_repeatable(run: winnow.Run):
    run.select(12, method="kmeans")
    made = json.loads((run.folder.path / "selection.json").read_text())
    assert made["seed"] == run.folder.options.train.seed and made["winnow"] == winnow.__version__
    assert made["vectors_sha256"] == sha256(run.folder.folder("encode") / "vectors.npy")
    assert made["sha256"] == sha256(run.folder.path / "selection.csv")
    assert made["versions"]["numpy"] == np.__version__ and "faiss-cpu" in made["versions"]
    assert made["options"]["method"] == "kmeans" and "writing" not in made
    assert run.folder.done("select")


def test_the_same_options_give_the_same_list(run: winnow.Run, finished_run: Path, tmp_path: Path):
    other = copied(finished_run, tmp_path / "other")
    for each in (run, other):
        each.select(12, method="kmeans", random_share=0.3)
    for name in ("selection.csv", "outliers.csv", "selection.png", "selection-map.png"):
        assert (run.folder.path / name).read_bytes() == (other.folder.path / name).read_bytes(), name


OPTIONS: dict[str, tuple[object, dict[str, object]]] = {
    "method": ("kmeans", {}),
    "pick": ("random", {"method": "kmeans"}),
    "per_group": (2, {}),
    "random_share": (0.5, {}),
    "duplicate_distance": (0.05, {}),
    "outliers": (0.5, {}),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_the_choice(name: str, run: winnow.Run, finished_run: Path, tmp_path: Path):
    value, auxiliary = OPTIONS[name]
    other = copied(finished_run, tmp_path / "other")
    run.select(14, **{"duplicate_distance": 0, **auxiliary})
    result = other.select(14, **{"duplicate_distance": 0, **auxiliary, name: value})
    assert ids_of(run) != ids_of(other)
    if name == "per_group":
        assert max(np.unique([row["group"] for row in rows_of(other)], return_counts=True)[1]) == 2
    if name == "random_share":
        assert [row["why"] for row in rows_of(other)].count(AT_RANDOM) == 7
    if name == "pick":
        assert rows_of(other)[0]["why"] == OF_CLUSTER != rows_of(run)[0]["why"]
    before = run.folder.result(Selected).left_out
    if name == "duplicate_distance":
        assert result.left_out.duplicates > before.duplicates
    if name == "outliers":
        assert result.left_out.outliers > before.outliers


def test_seconds_of_a_video_change_the_choice(film_run: Path, tmp_path: Path):
    results = {}
    for seconds in (0.0, 1.5):
        run = copied(film_run, tmp_path / str(seconds))
        results[seconds] = (
            run.select(15, duplicate_distance=0.001, duplicate_seconds=seconds).left_out.duplicates,
            ids_of(run),
        )
    assert results[0.0][0] < results[1.5][0]
    assert results[0.0][1] != results[1.5][1]
    assert all(row["time"] for row in rows_of(run)) and rows_of(run)[0]["id"].count("@") == 1


def test_number_changes_the_choice_and_stays_with_the_run(run: winnow.Run):
    assert run.select(5).chosen == 5
    assert run.select(number=9).chosen == 9
    assert run.folder.options.select.number == 9
    assert run.select().chosen == 9


@pytest.mark.parametrize("method", ["herding", "typiclust", "random"])
def test_more_extends_the_list_byte_for_byte_and_fewer_leaves_it(run: winnow.Run, method: str):
    table = run.folder.path / "selection.csv"
    run.select(10, method=method, random_share=0.2, per_group=6, duplicate_distance=0.02)
    ten = table.read_bytes()
    result = run.select(25)
    assert (result.chosen, result.kept) == (25, 10)
    assert table.read_bytes().startswith(ten) and len(set(ids_of(run))) == 25
    assert max(np.unique([row["group"] for row in rows_of(run)], return_counts=True)[1]) <= 6
    whole = table.read_bytes()
    result = run.select(4)
    assert (result.asked, result.chosen) == (4, 25) and "its first 4" in told(result, "r")
    assert table.read_bytes() == whole
    assert run.select(25).notes == [] and table.read_bytes() == whole
    assert not (run.folder.path / BEFORE).exists()


def test_resume_leaves_a_finished_choice(run: winnow.Run):
    result = run.select(10)
    before = (run.folder.path / "selection.json").stat().st_mtime_ns
    assert step_file.select(run.folder, resume=True) == result
    assert (run.folder.path / "selection.json").stat().st_mtime_ns == before
    assert step_file.select(run.folder, 11, resume=True).chosen == 11


def test_a_list_grown_is_the_list_asked_for_at_once(run: winnow.Run, finished_run: Path, tmp_path: Path):
    run.select(10, duplicate_distance=0)
    run.select(30)
    at_once = copied(finished_run, tmp_path / "other")
    at_once.select(30, duplicate_distance=0)
    assert ids_of(run) == ids_of(at_once)


def test_other_options_begin_a_new_list_and_say_so(run: winnow.Run):
    run.select(10, duplicate_distance=0)
    old = (run.folder.path / "selection.csv").read_bytes()
    result = run.select(10, method="k-center", duplicate_distance=0.001)
    assert result.kept == 0
    assert result.notes == [
        f"A new list: the one before was made with another --method, another --duplicate-distance; it is kept in {BEFORE}."
    ]
    assert result.notes[0] in told(result, "r")
    assert (run.folder.path / BEFORE).read_bytes() == old
    run.set(seed=3)
    for step in ("train", "encode", "calibrate"):  # as if they had been done with this seed, and had come out the same
        key = {"key": run.folder.key(step)}
        rewrite(run.folder.path / "steps" / f"{step}.json", lambda record, key=key: {**record, **key})
    assert "another seed" in run.select(10).notes[0]


def test_a_calibration_of_the_same_scores_keeps_the_list_and_another_scorer_does_not(run: winnow.Run):
    run.select(10)
    run.calibrate(false_alarm_rate=0.05)
    assert run.select(12).kept == 10
    run.calibrate(scorer="error(pool=top_pixels)")
    assert "another detector" in run.select(12).notes[0]


def test_embeddings_that_changed_begin_a_new_list(run: winnow.Run, pictures: Path, tmp_path: Path):
    run.select(10)
    Image.fromarray(stripes(np.random.default_rng(99))).save(tmp_path / "new.png")
    run.ingest([pictures, tmp_path / "new.png"])
    with pytest.raises(RunError, match="winnow train"):
        run.select(12)
    run.train()
    run.encode()
    run.calibrate()
    assert "other embeddings" in run.select(12).notes[0]


def test_what_the_run_has_labels_for_is_not_chosen(run: winnow.Run):
    run.select(10)
    catalogue = catalogue_of(run.folder, Pool.open(run.folder.folder("ingest")))
    labelled = [name for name in catalogue.ids if name not in ids_of(run)][:70] + ids_of(run)[:2]
    with open_store(run.folder) as store:
        store.add_classes("ann", ["a"])
        store.add("ann", [Event("skipped", "\n".join(labelled[:30]), "skip")], catalogue)
        store.add("ann", [Event("labelled", "\n".join(labelled[30:]), "label", "a")], catalogue)
    result = run.select(20, duplicate_distance=0, outliers=0)  # a new list: 24 are left
    assert result.left_out.labelled == 72
    assert not set(ids_of(run)) & set(labelled)
    result = run.select(25)
    assert (result.asked, result.chosen, result.kept) == (25, 24, 20)
    assert result.notes == ["25 pictures were asked for, and 24 are all that can be chosen."]
    assert run.select(26).chosen == 24 and run.select(24).notes == []


@pytest.mark.parametrize("labelled", [10, 24])
def test_what_a_part_of_the_sources_came_with_labels_for_is_not_chosen(tmp_path: Path, labelled: int):
    paths = sorted(write_pictures(tmp_path / "in", 8, 3).rglob("*.png"))
    lines = [f"{path},{'ab'[n % 2] if n < labelled else ''}" for n, path in enumerate(paths)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]), encoding="utf-8")
    run = winnow.Run(trained(tmp_path / "run", tmp_path / "list.csv"))
    result = run.select(14, duplicate_distance=0, outliers=0)
    chosen = {row["source"] for row in rows_of(run)}
    if labelled < len(paths):
        assert result.left_out.labelled == labelled and chosen == {str(path) for path in paths[labelled:]}
    else:  # all are labelled: a trial of how well one chooses
        assert result.left_out.labelled == 0 and len(chosen) == 14


def test_labels_given_elsewhere_count_as_labelled(run: winnow.Run, finished_run: Path, tmp_path: Path):
    run.select(40, duplicate_distance=0, outliers=0)
    rows = rows_of(run)
    by_id, by_path = tmp_path / "by id.csv", tmp_path / "bý path.csv"
    by_id.write_text("id,label\n" + "".join(f'"{row["id"]}",a\n' for row in rows[:10]), encoding="utf-8")
    by_path.write_text("path,label\n" + "".join(f'"{row["source"]}",a\n' for row in rows[10:20]), encoding="utf-8")
    run.import_labels(by_id, classes=["a"])
    run.export_labels(tmp_path / "folders", format="imagefolder")
    folders = tmp_path / "folders"
    for files, labelled in (
        ([by_id], rows[:10]),
        ([by_path], rows[10:20]),
        ([folders], rows[:10]),
        ([by_id, by_path], rows[:20]),
    ):
        other = copied(finished_run, tmp_path / "other")
        result = other.select(30, also=files, duplicate_distance=0, outliers=0)
        assert result.left_out.labelled == len(labelled)
        assert not set(ids_of(other)) & {row["id"] for row in labelled}
        shutil.rmtree(tmp_path / "other")
    done = winnow_command("select", "--run", run.folder.path, "-n", "50", "--also", by_id, by_path)
    assert done.returncode == 0 and "20 labelled" in done.stdout, done.stderr
    assert f"Labelled elsewhere: {by_id}, {by_path}: " in done.stdout and "by id" in done.stdout


def test_a_file_of_strangers_is_told(run: winnow.Run, tmp_path: Path):
    (tmp_path / "strängers.csv").write_text("id,label\nnobody,a\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"strängers\.csv names no item of"):
        run.select(5, also=tmp_path / "strängers.csv")
    with pytest.raises(InputError):
        run.select(5, also=tmp_path / "missing.csv")
    assert not (run.folder.path / "selection.csv").exists()


def test_junk_is_listed_as_outliers(junk_run: Path, tmp_path: Path):
    run = copied(junk_run, tmp_path / "run")
    result = run.select(20, duplicate_distance=0)
    rows = rows_of(run, "outliers.csv")
    assert list(rows[0]) == list(OUTLIER_COLUMNS)
    junk = [row for row in rows if row["source"].endswith("junk.png")]
    assert len(junk) >= 4 and len(rows) - len(junk) <= 5
    assert all(row["source"].endswith("junk.png") for row in rows[: len(junk)])  # most anomalous first
    assert not [row for row in rows_of(run) if row["source"].endswith("junk.png")]
    assert result.left_out.outliers == len(rows) and (run.folder.path / "outliers.png").exists()


def test_outliers_and_duplicates_come_last_where_no_others_are_left(junk_run: Path, tmp_path: Path):
    run = copied(junk_run, tmp_path / "run")
    usual = 101 - sum(asdict(run.select(10).left_out).values())
    result = run.select(101)
    assert result.notes == [f"The last {101 - usual} are outliers or duplicates: no others were left."]
    assert not set(ids_of(run)[:usual]) & set(ids_of(run, "outliers.csv")) and set(ids_of(run, "outliers.csv")) <= set(
        ids_of(run)[usual:]
    )
    assert len(set(ids_of(run))) == 101


def test_random_is_of_all_pictures(junk_run: Path, tmp_path: Path):
    run = copied(junk_run, tmp_path / "run")
    result = run.select(101, method="random")
    assert (
        result.candidates == 101
        and result.left_out == LeftOut(duplicates=0, outliers=0, labelled=0)
        and result.notes == []
    )
    assert np.mean([ids_of(run).index(name) for name in ids_of(run, "outliers.csv")]) < 95


def test_anomalous_goes_by_the_anomaly_score(junk_run: Path, tmp_path: Path):
    places = {}
    for method in ("herding", "anomalous"):
        run = copied(junk_run, tmp_path / method)
        run.select(101, method=method, outliers=0, duplicate_distance=0)
        junk = [place for place, row in enumerate(rows_of(run)) if row["source"].endswith("junk.png")]
        places[method] = np.mean(junk)
    assert places["anomalous"] < places["herding"]


@pytest.mark.parametrize("spoil", [
    lambda path: (path / "selection.csv").write_text((path / "selection.csv").read_text() + "11,x,,,,,,,\n"),
    lambda path: (path / "selection.csv").write_bytes((path / "selection.csv").read_bytes()[:-20]),
    lambda path: (path / "selection.csv").unlink(),
    lambda path: (path / "selection.json").write_text("{"),
    lambda path: (path / "selection.json").write_text("[]"),
    lambda path: (path / "selection.json").write_text('{"writing": 3}'),
], ids=["row added", "cut", "gone", "no json", "a list", "nonsense"])  # fmt: skip
def test_a_list_that_was_changed_is_told(run: winnow.Run, spoil):
    run.select(10)
    spoil(run.folder.path)
    with pytest.raises(Damaged, match=r"selection\.csv and selection\.json are not what was written") as error:
        run.select(12)
    assert "remove selection.json" in str(error.value)
    (run.folder.path / "selection.json").unlink()
    assert run.select(12).kept == 0


def test_more_than_there_are_takes_all_and_says_so(run: winnow.Run, finished_run: Path, tmp_path: Path):
    result = run.select(200)
    assert (result.asked, result.chosen, result.pictures) == (200, 96, 96) and len(set(ids_of(run))) == 96
    assert result.notes[0] == "200 pictures were asked for, and 96 are all that can be chosen."
    assert "Chose 96 of 96 pictures" in told(result, "r") and result.notes[0] in told(result, "r")
    within = copied(finished_run, tmp_path / "quota").select(9, per_group=1)
    assert within.chosen == 8
    assert within.notes[0] == "9 pictures were asked for, and 8 are all that can be chosen, 1 of a group at most."
    assert run.folder.options.select.number == 200 and run.select(300).chosen == 96


def test_nothing_left_to_choose_is_told(run: winnow.Run):
    catalogue = catalogue_of(run.folder, Pool.open(run.folder.folder("ingest")))
    with open_store(run.folder) as store:
        store.add_classes("ann", ["a"])
        events = [Event(f"e{number}", name, "label", "a") for number, name in enumerate(catalogue.ids)]
        store.add("ann", events, catalogue)
    with pytest.raises(DataError, match="None of 96 pictures can be chosen: they are labelled already"):
        run.select(5)
    assert not (run.folder.path / "selection.csv").exists()


def test_options_that_are_wrong(run: winnow.Run):
    with pytest.raises(OptionError, match="How many") as error:
        run.select()
    assert "-n 125" in str(error.value)
    with pytest.raises(OptionError, match="hearding") as error:
        run.select(9, method="hearding", per_group=0)
    assert "herding" in str(error.value)
    assert not (run.folder.path / "selection.csv").exists()
    for words in (("-n", "0"), ("-n", "many"), ("--duplicate-distance", "2"), ("--pick", "best")):
        done = winnow_command("select", "--run", run.folder.path, *words)
        assert done.returncode != 0 and "Traceback" not in done.stderr, done.stderr


def test_a_run_without_a_detector_is_told(run: winnow.Run, tmp_path: Path):
    bare = winnow.Run(tmp_path / "bare", "")
    with pytest.raises(RunError, match="winnow ingest"):
        bare.select(5)
    (run.folder.path / "steps" / "calibrate.json").unlink()
    with pytest.raises(RunError, match="winnow calibrate"):
        run.select(5)


def test_a_method_of_ones_own_must_be_named_in_the_call(
    run: winnow.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "their_methods.py").write_text(
        "import pathlib\npathlib.Path('ran').touch()\nimport numpy as np\n"
        "def last(embeddings, n, rng, *, start=(), weights=None):\n"
        "    return np.setdiff1d(np.arange(len(embeddings)), start)[::-1][:n]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    set_options(run.folder.path, "select", method="their_methods:last")
    again = winnow.Run(run.folder.path)
    with pytest.raises(OptionError, match="not one of Winnow's") as error:
        again.select(5)
    assert "--method their_methods:last" in str(error.value) and not (tmp_path / "ran").exists()
    assert again.select(5, method="their_methods:last").chosen == 5
    assert rows_of(again)[0]["why"] == "chosen by your own method" and (tmp_path / "ran").exists()


def test_run_chooses_and_reports_pictures_of_any_name(tmp_path: Path):
    write_pictures(tmp_path / "in", 4, 8)
    for number, path in enumerate(sorted((tmp_path / "in").rglob("*.png"))):
        path.rename(path.with_name(f'grüße "{number}", 写真.png'))
    small = ("--size", "32", "32", "--width", "4", "--latent", "4", "--iterations", "20", "--check-every", "10")
    done = winnow_command(
        "run", "oneclass-from-scratch", tmp_path / "in", "--to", tmp_path / "läuft", "--number", "10", *small
    )
    assert done.returncode == 0, done.stderr
    assert "Chose 10 of 32 pictures" in done.stdout and "winnow label --run" in done.stdout
    run = winnow.Run(tmp_path / "läuft")
    assert all(Path(row["source"]).exists() and "写真" in row["source"] for row in rows_of(run))
    assert "Chosen for labelling" in (tmp_path / "läuft" / "report.html").read_text(encoding="utf-8")
    assert len(catalogue_of(run.folder, Pool.open(run.folder.folder("ingest"))).lanes["chosen"].rows) == 10


def test_the_section_of_the_report(run: winnow.Run):
    pool = Pool.open(run.folder.folder("ingest"))
    about = (run.folder, pool, OwnPictures(run.folder, pool))
    assert selection_sections(*about) == []
    result = run.select(12)
    section, places = selection_sections(*about)
    first = section.galleries[0]
    assert (
        first.title.startswith("The first")
        and len(first.cards) == 12
        and first.cards[0].lines[0].startswith("rank 1, ")
    )
    (listed, *_) = read_table(run.folder.path / "selection.csv")
    assert first.cards[0].name == Path(listed["source"]).name and places.figures[0].title.startswith("Where the")
    assert section.tables[0].rows == [
        (kind, *counts, Share(counts[1] / counts[0])) for kind, counts in result.kinds.items()
    ]
    assert "12 of 96 pictures by" in section.text[0] and "last changed" not in " ".join(section.text)
    assert section.commands[0] == f"winnow label --run {run.folder.path} --classes A,B"
    run.set(duplicate_distance=0.3)
    assert selection_sections(*about) == [] and "last changed" in stale_selection(run.folder)


def test_a_map_of_few_or_equal_pictures():
    assert flat_map(np.zeros((3, 0))).shape == (3, 2)
    assert flat_map(np.ones((30, 4))).tolist() == np.zeros((30, 2)).tolist()
    places = flat_map(np.random.default_rng(0).normal(size=(40, 6)))
    assert np.isfinite(places).all() and np.array_equal(places, flat_map(np.random.default_rng(0).normal(size=(40, 6))))
    ranks = np.where(np.arange(40) < 5, np.arange(40), np.nan)
    assert choice_map(places, np.arange(40) % 9, ranks) != choice_map(places, np.arange(40) % 9, np.full(40, np.nan))
    with pytest.raises(DataError, match="differ"):
        choice_map(places, np.ones(39), ranks)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_are_shown_at_their_own_proportions(channels: int):
    pictures = np.full((3, 40, 40, channels), 7, np.uint8)
    shown = in_proportion(pictures, np.array([0.5, 1.0, 2.0]))
    assert shown.shape == (3, 40, 40, channels)
    filled = (shown == 7).all(axis=3)
    assert [(part.any(axis=1).sum(), part.any(axis=0).sum()) for part in filled] == [(40, 20), (40, 40), (20, 40)]
    assert in_proportion(pictures, np.array([0.5, 0.25, 0.25])).shape == (3, 40, 20, channels)
    assert in_proportion(pictures, np.full(3, 0.001)).shape == (3, 40, 1, channels)


def test_a_sheet_and_a_map_have_a_limit(run: winnow.Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(step_file, "SHEET", 5)
    run.select(30, duplicate_distance=0)
    assert Image.open(run.folder.path / "selection.png").size[1] < 700
