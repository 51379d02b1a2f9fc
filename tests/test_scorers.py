"""Every scorer against a slow obvious version or a known answer, and against bad input."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf

from winnow.check import obvious
from winnow.detect.registry import SCORERS, make_scorer
from winnow.detect.scorer import ROWS, Scorer, folds_of, held_out
from winnow.detect.scorers.fisher import Fisher, LogP
from winnow.detect.scorers.knn import Knn
from winnow.detect.scorers.latent import Latent
from winnow.detect.scorers.mahalanobis import Mahalanobis, _shrinkage, shrunk_gaussian
from winnow.detect.scorers.patchcore import farthest
from winnow.embeddings import Embeddings
from winnow.errors import DataError, OptionError, WinnowError

NORMAL, NEW, ANOMALOUS = obvious(200, 0, False), obvious(50, 1, False), obvious(50, 2, True)
CODES = (
    "mahalanobis",
    "mahalanobis(metric=cosine)",
    "mahalanobis(relative=true)",
    "knn",
    "knn(metric=cosine)",
    "fisher",
)


def with_seen(seen: np.ndarray, **changes: np.ndarray) -> Embeddings:
    """NORMAL with some rows seen in training, and some losses changed."""
    return Embeddings.of(NORMAL.vectors, losses={**NORMAL.losses, **changes}, seen=seen)


def test_importing_detect_imports_no_torch() -> None:
    modules = (
        "detect.registry",
        "detect.detector",
        "detect.combine",
        "detect.threshold",
        "detect.segments",
        "metrics.detection",
        "check",
    )
    program = "import sys\n" + "".join(f"import winnow.{name}\n" for name in modules)
    program += "print([name for name in ('torch', 'torchvision', 'timm', 'av') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("error", "reconstruction"),
        ("error(pool=top_pixels)", "top_error"),
        ("error(pool=top_windows)", "top_local_error"),
        ("error(pool=texture)", "texture"),
        ("latent", "latent"),
    ],
)
def test_losses_are_read_as_logarithms(name: str, measure: str) -> None:
    scores = make_scorer(name).fit(NORMAL).score(NEW)
    assert scores == pytest.approx([np.log(value) for value in NEW.losses[measure]])
    zero = Embeddings.of(NEW.vectors, losses={measure: np.zeros(len(NEW))})
    assert np.isfinite(make_scorer(name).fit(NORMAL).score(zero)).all()


def test_zsum_adds_standardised_losses_of_held_out_normals() -> None:
    seen = np.arange(200) < 150
    scorer = make_scorer("zsum").fit(with_seen(seen))
    expected = np.zeros(len(NEW))
    for name in ("reconstruction", "latent"):
        logs = np.log(NORMAL.losses[name][~seen])
        expected += (np.log(NEW.losses[name]) - logs.mean()) / logs.std()
    assert scorer.score(NEW) == pytest.approx(expected)


def test_variance_corrected_is_the_residual_of_a_regression_on_held_out_normals() -> None:
    seen = np.arange(200) < 150
    error = np.where(seen, 1e-6, NORMAL.losses["reconstruction"])
    scorer = make_scorer("variance_corrected").fit(with_seen(seen, reconstruction=error))
    logs = [np.log(NORMAL.losses[name][~seen]) for name in ("variance", "reconstruction")]
    slope, intercept = np.polyfit(*logs, 1)
    expected = np.log(NEW.losses["reconstruction"]) - slope * np.log(NEW.losses["variance"]) - intercept
    assert scorer.score(NEW) == pytest.approx(expected)


def test_a_predictor_that_differs_by_rounding_alone_has_no_slope() -> None:
    """Its slope would be noise over noise, and the score of a picture of another variance the noise many times over."""
    flat = 0.05 * (1 + 1e-9 * np.random.default_rng(0).normal(size=200))
    scorer = make_scorer("variance_corrected").fit(with_seen(np.zeros(200, bool), variance=flat))
    assert scorer.slopes.tolist() == [0]
    new = Embeddings.of(NEW.vectors, losses=NEW.losses)
    centred = np.log(NEW.losses["reconstruction"]) - np.log(NORMAL.losses["reconstruction"]).mean()
    assert scorer.score(new) == pytest.approx(centred)


def test_predictors_that_are_copies_of_one_another_share_the_slope() -> None:
    """Without the cut-off the two slopes would be huge and opposite, and cancel on normals alone."""
    rounding = 1 + 1e-9 * np.random.default_rng(0).normal(size=200)
    normal = with_seen(np.zeros(200, bool), background=NORMAL.losses["variance"] * rounding)
    scorer = make_scorer("variance_corrected(background=true)").fit(normal)
    one = make_scorer("variance_corrected").fit(NORMAL)
    assert scorer.slopes == pytest.approx([one.slopes[0] / 2] * 2, rel=1e-3)


def test_variance_corrected_sees_through_simple_pictures() -> None:
    """Anomalous pictures that are simple have the error of normal ones; only given their variance it is too large."""
    rng = np.random.default_rng(0)
    variance = np.exp(rng.normal(size=600)) * np.repeat([1.0, 0.05], 300)
    error = 0.1 * variance * np.exp(0.3 * rng.normal(size=600)) * np.repeat([1.0, 15.0], 300)
    pictures = Embeddings.of(np.zeros((600, 2)), losses={"reconstruction": error, "variance": variance})
    chances = {}
    for name in ("error", "variance_corrected"):
        scores = make_scorer(name).fit(pictures[:200]).score(pictures[200:])
        chances[name] = (scores[None, 100:] > scores[:100, None]).mean()
    assert chances["error"] < 0.6
    assert chances["variance_corrected"] > 0.99


def test_variance_corrected_with_a_background_is_the_residual_of_two() -> None:
    logs = {name: np.log(values) for name, values in NORMAL.losses.items()}
    new = {name: np.log(values) for name, values in NEW.losses.items()}
    design = np.stack([logs["background"], logs["variance"], np.ones(200)], axis=1)
    slopes = np.linalg.lstsq(design, logs["reconstruction"], rcond=None)[0]
    expected = new["reconstruction"] - np.stack([new["background"], new["variance"], np.ones(50)], axis=1) @ slopes
    assert make_scorer("variance_corrected(background=true)").fit(NORMAL).score(NEW) == pytest.approx(expected)


def test_error_over_variance_is_the_log_share_of_variance() -> None:
    expected = np.log(NEW.losses["reconstruction"] / NEW.losses["variance"])
    assert make_scorer("error_over_variance").fit(NORMAL).score(NEW) == pytest.approx(expected)


def test_error_over_background_is_the_log_ratio_of_errors() -> None:
    expected = np.log(NEW.losses["reconstruction"] / NEW.losses["background"])
    assert make_scorer("error_over_background").fit(NORMAL).score(NEW) == pytest.approx(expected)


def test_gradient_is_two_sided() -> None:
    scorer = make_scorer("gradient").fit(NORMAL)
    centre = np.exp(np.log(NORMAL.losses["gradient"]).mean())
    probe = Embeddings.of(np.zeros((3, 8)), losses={"gradient": centre * np.array([1.0, 4.0, 0.25])})
    assert scorer.score(probe) == pytest.approx([0, np.log(4), np.log(4)], abs=1e-9)


def test_mahalanobis_is_the_shrunk_mahalanobis_distance() -> None:
    assert Mahalanobis().fit(NORMAL).score(NEW) == pytest.approx(
        LedoitWolf().fit(NORMAL.vectors).mahalanobis(NEW.vectors), rel=1e-4
    )


def test_relative_subtracts_the_background() -> None:
    background = np.random.default_rng(4).normal(size=(300, 8)) * 3
    expected = Mahalanobis().fit(NORMAL).score(NEW) - Mahalanobis().fit(background).score(NEW)
    assert Mahalanobis(background=background).fit(NORMAL).score(NEW) == pytest.approx(expected)
    assert (Mahalanobis(relative=True).fit(NORMAL).score(np.concatenate([NEW.vectors, ANOMALOUS.vectors])) >= 0).all()
    with pytest.raises(DataError, match="background embeddings"):
        Mahalanobis(background=background[:, :3]).fit(NORMAL)


def test_knn_against_brute_force() -> None:
    rng = np.random.default_rng(5)
    for k, n, d, offset in [(1, 30, 3, 0), (5, 200, 16, 0), (7, 4, 5, 0), (5, 300, 8, 1000)]:
        bank, queries = (offset + rng.normal(size=(count, d)).astype(np.float32) for count in (n, 40))
        distances = np.linalg.norm(queries[:, None].astype(float) - bank[None], axis=2)
        expected = np.sort(distances, axis=1)[:, :k].mean(axis=1)
        assert Knn(k).fit(bank).score(queries) == pytest.approx(expected, rel=1e-4)
    assert make_scorer("knn(k=3)").k == 3
    with pytest.raises(OptionError, match="k=0"):
        Knn(0)


def test_the_cosine_metric_does_not_see_lengths() -> None:
    lengths = np.random.default_rng(12).uniform(0.1, 10, (200, 1))
    for plain in ("knn", "mahalanobis"):
        scorer = make_scorer(f"{plain}(metric=cosine)").fit(NORMAL.vectors * lengths)
        assert scorer.score(NEW.vectors) == pytest.approx(scorer.score(7 * NEW.vectors), rel=1e-3)
        units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (NORMAL.vectors, NEW.vectors)]
        assert scorer.score(NEW.vectors) == pytest.approx(make_scorer(plain).fit(units[0]).score(units[1]), rel=1e-3)
        assert np.isfinite(scorer.score(np.zeros((2, 8)))).all()


def test_knn_builds_its_index_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import faiss

    made, index = [], faiss.IndexFlatL2
    monkeypatch.setattr(faiss, "IndexFlatL2", lambda dimensions: made.append(dimensions) or index(dimensions))
    scorer = Knn(2).fit(NORMAL)
    first = [scorer.score(NEW) for _ in range(3)][-1]
    assert len(made) == 1
    again = make_scorer("knn(k=2)").restore(scorer.state())
    assert np.array_equal([again.score(NEW) for _ in range(3)][-1], first) and len(made) == 2
    assert set(scorer.state()) == {"bank", "dimensions"}
    other = copy.copy(scorer).fit(ANOMALOUS)
    assert np.array_equal(other.score(NEW), Knn(2).fit(ANOMALOUS).score(NEW)) and len(made) == 4
    assert np.array_equal(scorer.score(NEW), first) and len(made) == 4


def test_knn_of_duplicates_are_at_distance_zero() -> None:
    vectors = np.repeat(np.random.default_rng(6).normal(size=(4, 6)) + 100, 10, axis=0)
    assert Knn(5).fit(vectors).score(vectors).tolist() == [0.0] * 40


@pytest.mark.parametrize("name", CODES)
def test_constant_embeddings_do_not_crash(name: str) -> None:
    scorer = make_scorer(name).fit(np.full((30, 4), 7.0))
    scores = scorer.score(np.array([[7.0, 7, 7, 7], [8.0, 7, 7, 7]]))
    assert np.isfinite(scores).all()
    assert scores[1] > scores[0]


@pytest.mark.parametrize("name", CODES)
def test_more_dimensions_than_pictures(name: str) -> None:
    rng = np.random.default_rng(7)
    normal, far = rng.normal(size=(20, 64)), rng.normal(size=(20, 64)) + 5
    scorer = make_scorer(name).fit(normal)
    assert scorer.score(far).min() > np.median(scorer.score(normal))


def test_huge_values_stay_finite() -> None:
    for name in CODES:
        scores = make_scorer(name).fit(NORMAL.vectors * 1e6).score(ANOMALOUS.vectors * 1e9)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_bad_input_is_refused_by_name(name: str) -> None:
    scorer = make_scorer(name)
    with pytest.raises(DataError, match=f"'{name}' has not been fitted"):
        scorer.score(NEW)
    with pytest.raises(DataError, match=f"'{name}' has not been fitted"):
        scorer.state()
    with pytest.raises(DataError, match=f"'{name}' needs at least"):
        scorer.fit(NORMAL[:0])
    scorer.fit(NORMAL)
    with pytest.raises(DataError, match=f"7 dimensions; the scorer '{name}' was fitted on 8"):
        scorer.score(Embeddings.of(NEW.vectors[:, :7], losses=NEW.losses, cells=NEW.cells))
    assert scorer.score(NEW[:0]).shape == (0,)
    for needed in scorer.needs:
        lacking = Embeddings.of(NORMAL.vectors, losses={key: v for key, v in NORMAL.losses.items() if key != needed})
        with pytest.raises(DataError, match=f"'{name}' needs '{needed}'") as caught:
            make_scorer(name).fit(lacking)
        assert caught.value.remedy
        spoilt = {**NORMAL.losses, needed: np.full(200, np.nan)}
        with pytest.raises(DataError, match=f"'{needed}' holds 200 values that are not finite"):
            make_scorer(name).fit(Embeddings.of(NORMAL.vectors, losses=spoilt))
    if scorer.reads_vectors:
        vectors = NORMAL.vectors.copy()
        vectors[2, 1] = np.inf
        with pytest.raises(DataError, match="'vectors' holds 1 values"):
            make_scorer(name).fit(vectors)
    if scorer.reads_cells:
        cells = NORMAL.cells.copy()
        cells[2, 1, 0, 3] = np.inf
        with pytest.raises(DataError, match="'cells' holds 1 values"):
            make_scorer(name).fit(Embeddings.of(NORMAL.vectors, cells=cells))
        with pytest.raises(DataError, match=f"'{name}' needs an embedding of each place") as caught:
            make_scorer(name).fit(NORMAL.vectors)
        assert "--model dense" in caught.value.remedy
        with pytest.raises(DataError, match="have 2x3 places of 3 numbers"):
            scorer.score(Embeddings.of(NEW.vectors, cells=NEW.cells[..., :3]))
    with pytest.raises(DataError, match="shape"):
        make_scorer(name).fit(np.zeros(5))


def test_unknown_and_own_scorers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="no scorer 'mahalanobs'") as caught:
        make_scorer("mahalanobs")
    assert "'mahalanobis'" in str(caught.value)
    (tmp_path / "mine_scorer.py").write_text(
        "from winnow.detect.scorer import Scorer\n"
        "class Derived(Scorer):\n    def _fit(self, normal): pass\n    def _score(self, e): return e.vectors[:, 0]\n"
        "class Plain:\n    def __init__(self, column=0): self.column = column\n"
        "    def fit(self, normal): pass\n    def score(self, e): return e.vectors[:, self.column]\n"
        "class Other: pass\n"
    )
    monkeypatch.chdir(tmp_path)  # found there although the folder is not on sys.path
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    for name, column in {"Derived": 0, "Plain": 0, "Plain(column=2)": 2}.items():
        assert make_scorer(f"mine_scorer:{name}").fit(NORMAL).score(NEW).tolist() == NEW.vectors[:, column].tolist()
    for wrong, words in {
        "mine_scorer:Other": "is not a scorer",
        "mine_scorer:Absent": "has no 'Absent'",
        "no_such_module:X": "cannot be imported",
        "mine_scorer:Plain(row=1)": "no option 'row'",
    }.items():
        with pytest.raises(OptionError, match=words):
            make_scorer(wrong)


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("knn(metrik=cosine)", "'knn' has no option 'metrik'", "'metric'"),
        ("knn(metric=cosin)", "'knn' has no metric 'cosin'", "'cosine'"),
        ("knn(k=0)", "k=0", "5"),
        ("knn(k=many)", "k=many", "5"),
        ("knn(k=true)", "k=True", "5"),
        ("knn(error)", "'knn' has no components", "fisher"),
        ("error(pool=top)", "no pool 'top'", "top_"),
        ("latent(k=3)", "'latent' has no option 'k'", "none"),
        ("variance_corrected(background=1)", "background=true", ""),
        ("mahalanobis(background=3)", "no option 'background'", "relative"),
        ("error(pool=mean", "cannot be read", "NAME"),
        ("knn)", "from '\\)' on", "NAME"),
        ("knn(k=)", "cannot be read", ""),
        ("", "cannot be read", ""),
        ("fisher(fisher)", "component of another", ""),
        ("fisher(knm)", "no scorer 'knm'", "'knn'"),
    ],
)
def test_a_scorer_s_text_that_cannot_be_used_is_one_sentence(text: str, message: str, remedy: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        make_scorer(text)
    assert "\n" not in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("knn", "knn(k=1)"),
        ("knn", "knn(metric=cosine)"),
        ("mahalanobis", "mahalanobis(metric=cosine)"),
        ("mahalanobis", "mahalanobis(relative=true)"),
        ("variance_corrected", "variance_corrected(background=true)"),
        ("error", "error(pool=top_pixels)"),
        ("error", "error(pool=top_windows)"),
        ("error", "error(pool=texture)"),
        ("zsum", "zsum(error, knn)"),
        ("fisher", "fisher(error, knn)"),
        ("zsum(error, knn)", "fisher(error, knn)"),
    ],
)
def test_every_option_of_a_scorer_changes_something(one: str, other: str) -> None:
    scores = [make_scorer(text).fit(NORMAL).score(NEW) for text in (one, other)]
    assert (np.argsort(scores[0]) != np.argsort(scores[1])).any() or np.abs(scores[0] - scores[1]).min() > 0.1


@pytest.mark.parametrize(
    "text",
    ["knn(k=3, metric=cosine)", " fisher ( error(pool=top_windows) ,latent )", "fisher(knn(k=2), latent)", "zsum()"],
)
def test_a_scorer_s_text_makes_it_again(text: str) -> None:
    again = make_scorer(make_scorer(text).spec())
    assert again.spec() == make_scorer(text).spec()
    assert again.fit(NORMAL).score(NEW).tolist() == make_scorer(text).fit(NORMAL).score(NEW).tolist()


def test_held_out_rows_and_folds_keep_groups_whole() -> None:
    groups = np.repeat([f"v{i}" for i in range(20)], 10)
    seen = np.arange(200) < 100
    embeddings = Embeddings.of(NORMAL.vectors, groups=groups, seen=seen)
    assert len(held_out(embeddings)) == 100
    assert len(held_out(Embeddings.of(NORMAL.vectors, seen=np.ones(200, bool)))) == 200
    fold = folds_of(embeddings, 5)
    assert (fold[seen] == -1).all()
    assert set(fold[~seen]) == set(range(5))
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    assert set(folds_of(Embeddings.of(NORMAL.vectors, groups=groups, seen=np.ones(200, bool)), 5)) == set(range(5))


@pytest.mark.parametrize("name", ["knn", "mahalanobis", "variance_corrected"])
def test_held_out_scores_are_those_of_a_scorer_fitted_without_the_fold(name: str) -> None:
    seen = np.arange(200) < 80
    normal = with_seen(seen)
    fold = folds_of(normal, 4)
    scorer = make_scorer(name)
    scores = scorer.fit_held_out(normal, fold)
    assert np.isnan(scores[seen]).all()
    for number in range(4):
        rows = fold == number
        assert scores[rows].tolist() == make_scorer(name).fit(normal[~rows]).score(normal[rows]).tolist()
    assert scorer.score(NEW).tolist() == make_scorer(name).fit(normal).score(NEW).tolist()


def test_many_normals_are_sampled_with_a_fixed_seed() -> None:
    vectors = np.random.default_rng(8).normal(size=(ROWS + 5000, 2)).astype(np.float32)
    embeddings = Embeddings.of(vectors)
    one, other = Knn(), Knn()
    fold = np.arange(len(vectors)) % 2
    scores = one.fit_held_out(embeddings, fold)
    assert len(one.bank) == ROWS
    assert int((~np.isnan(scores)).sum()) == ROWS
    assert one.score(vectors[:50]).tolist() == other.fit(embeddings).score(vectors[:50]).tolist()


def test_log_p_is_minus_log_p_and_goes_on_growing() -> None:
    rng = np.random.default_rng(9)
    calibration = rng.exponential(size=400)
    tail = LogP(calibration, np.ones(400))
    probe = np.linspace(-1, 60, 4000)
    values = tail.of_new(probe)
    assert (np.diff(values) >= 0).all()
    assert (np.diff(values[probe > calibration.max()]) > 0).all()
    inside = probe < np.quantile(calibration, 0.85)
    slow = [-np.log((1 + (calibration >= s).sum()) / 401) for s in probe[inside]]
    assert values[inside] == pytest.approx(slow)
    assert values[-1] == pytest.approx(60, rel=0.3)  # an exponential's surprise is the value itself


def test_own_log_p_leaves_each_score_out() -> None:
    rng = np.random.default_rng(10)
    calibration = np.sort(rng.normal(size=60))
    own = LogP(calibration, np.ones(60)).of_own(calibration, np.ones(60))
    slow = [-np.log((1 + (np.delete(calibration, i) >= s).sum()) / 60) for i, s in enumerate(calibration[:50])]
    assert own[:50] == pytest.approx(slow)
    lone = np.append(rng.normal(size=59), 1000.0)
    kept = LogP(lone, np.ones(60))
    assert kept.of_own(lone, np.ones(60))[-1] > 5 * kept.of_new(np.array([1000.0]))[0]


def test_log_p_of_equal_scores_is_finite() -> None:
    for calibration in (np.zeros(50), np.append(np.zeros(49), 1.0), np.zeros(1)):
        tail = LogP(calibration, np.ones(len(calibration)))
        assert np.isfinite(tail.of_new(np.array([-1.0, 0.0, 1.0, 1e6]))).all()
        assert np.isfinite(tail.of_own(calibration, np.ones(len(calibration)))).all()


def components(scorer: Fisher) -> list[str]:
    return [part.spec() for part in scorer.fitted]


def test_fisher_takes_the_components_that_the_embeddings_allow() -> None:
    corrected, cosine, euclidean = (
        "variance_corrected(background=false)",
        "knn(k=5, metric=cosine)",
        "knn(k=5, metric=euclidean)",
    )
    assert components(Fisher().fit(NORMAL)) == [
        "error_over_variance",
        corrected,
        "variance_corrected(background=true)",
        cosine,
        euclidean,
    ]
    assert components(Fisher().fit(NORMAL.vectors)) == [euclidean, "mahalanobis(metric=cosine, relative=false)"]
    some = Embeddings.of(NORMAL.vectors, losses={name: NORMAL.losses[name] for name in ("reconstruction", "variance")})
    assert components(Fisher().fit(some)) == ["error_over_variance", corrected, cosine, euclidean]
    alone = Embeddings.of(NORMAL.vectors, losses={"reconstruction": NORMAL.losses["reconstruction"]})
    assert components(Fisher().fit(alone)) == ["error(pool=mean)", euclidean]
    chosen = Fisher([Mahalanobis(), Latent()]).fit(NORMAL)
    expected = sum(tail.of_new(part.score(NEW)) for part, tail in zip(chosen.fitted, chosen.tails, strict=True))
    assert chosen.score(NEW) == pytest.approx(expected)
    with pytest.raises(OptionError, match="component of another"):
        Fisher([Fisher()])
    with pytest.raises(OptionError, match="is not a scorer"):
        Fisher(["knn"])
    with pytest.raises(WinnowError, match="latent"):
        Fisher([Latent()]).fit(NORMAL.vectors)


def test_one_component_that_sees_it_is_enough() -> None:
    """Anomalous in the embeddings alone, or in the error alone: the combination sees both, each single scorer one."""
    new = NEW.losses
    in_vectors = Embeddings.of(ANOMALOUS.vectors, losses=new)
    in_error = Embeddings.of(
        NEW.vectors, losses={**new, "reconstruction": 20 * new["reconstruction"], "top_error": 20 * new["top_error"]}
    )
    scorer = Fisher().fit(NORMAL)
    usual = np.sort(scorer.score(obvious(500, 11, False)))
    for anomalous in (in_vectors, in_error):
        assert (np.searchsorted(usual, scorer.score(anomalous)) / 500).mean() > 0.98


def test_every_scorer_has_its_name_and_a_docstring() -> None:
    for name, kind in SCORERS.items():
        assert kind.name == name
        assert issubclass(kind, Scorer)
        assert kind.__doc__


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_a_scorer_reads_no_measure_that_it_does_not_name(name: str) -> None:
    rng = np.random.default_rng(0)
    every = (
        "reconstruction",
        "linear",
        "background",
        "texture",
        "top_local_error",
        "top_error",
        "latent",
        "variance",
        "gradient",
    )
    known, new = (
        Embeddings.of(
            rng.normal(size=(n, 3)),
            losses={key: np.exp(rng.normal(size=n)) for key in every},
            cells=rng.normal(size=(n, 2, 2, 3)),
        )
        for n in (60, 20)
    )
    scorer = make_scorer(name).fit(known)
    named = Embeddings.of(new.vectors, losses={key: new.losses[key] for key in scorer.reads()}, cells=new.cells)
    np.testing.assert_array_equal(scorer.score(named), scorer.score(new))


def test_padim_compares_each_place_with_the_same_place_of_the_normals() -> None:
    """Against loops over places: mean and covariance of each, that averaged over the places round it and shrunk."""
    rng = np.random.default_rng(4)
    (n, h, w, d), around, shrinkage = (30, 4, 5, 3), 1, 0.2
    normal, new = rng.normal(size=(n, h, w, d)), rng.normal(size=(6, h, w, d)) * 2
    scorer = make_scorer(f"padim(top=0.1, shrinkage={shrinkage}, around={around})")
    scorer.fit(Embeddings.of(normal.mean(axis=(1, 2)), cells=normal))
    each = (1 + 1 / n) * np.array([[np.cov(normal[:, y, x].T) for x in range(w)] for y in range(h)])
    expected = np.empty((6, h, w))
    for y in range(h):
        for x in range(w):
            near = each[max(0, y - around) : y + around + 1, max(0, x - around) : x + around + 1]
            pooled = near.reshape(-1, d, d).mean(axis=0)
            shrunk = (1 - shrinkage) * pooled + shrinkage * np.trace(pooled) / d * np.eye(d)
            difference = new[:, y, x] - normal[:, y, x].mean(axis=0)
            expected[:, y, x] = np.sqrt(np.einsum("nd,de,ne->n", difference, np.linalg.inv(shrunk), difference))
    found = Embeddings.of(new.mean(axis=(1, 2)), cells=new)
    np.testing.assert_allclose(scorer.anomaly_map(found), expected, rtol=5e-3)
    highest = np.sort(scorer.anomaly_map(found).reshape(6, -1), axis=1)[:, -2:].mean(axis=1)
    np.testing.assert_allclose(scorer.score(found), highest, rtol=1e-5)


def test_patchcore_compares_each_place_with_the_nearest_of_all_places_of_the_normals() -> None:
    """Against loops over all pairs, with a memory that holds every place."""
    rng = np.random.default_rng(5)
    (n, h, w, d), shrinkage = (6, 3, 5, 4), 0.2
    normal, new = rng.normal(size=(n, h, w, d)) @ rng.normal(size=(d, d)), rng.normal(size=(4, h, w, d))
    scorer = make_scorer(f"patchcore(top=0.2, shrinkage={shrinkage}, memory={n * h * w})")
    scorer.fit(Embeddings.of(normal.mean(axis=(1, 2)), cells=normal))
    covariance = np.cov(normal.reshape(-1, d).T)
    inverse = np.linalg.inv((1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / d * np.eye(d))
    expected = np.empty((4, h, w))
    for row, y, x in np.ndindex(4, h, w):
        apart = normal.reshape(-1, d) - new[row, y, x]
        expected[row, y, x] = np.sqrt(np.einsum("nd,de,ne->n", apart, inverse, apart)).min()
    found = Embeddings.of(new.mean(axis=(1, 2)), cells=new)
    np.testing.assert_allclose(scorer.anomaly_map(found), expected, rtol=1e-3)
    highest = np.sort(expected.reshape(4, -1), axis=1)[:, -3:].mean(axis=1)
    np.testing.assert_allclose(scorer.score(found), highest, rtol=1e-3)
    # Blind to place: a picture whose places are exchanged has the same score.
    exchanged = Embeddings.of(found.vectors, cells=new[:, ::-1, ::-1])
    np.testing.assert_allclose(scorer.score(exchanged), scorer.score(found), rtol=1e-6)


def test_the_farthest_places_cover_all() -> None:
    """Each is the farthest from those before, and of a few clusters every one is found before a second of any."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(7, size=300)
    points = (rng.normal(size=(7, 3)) * 20)[cluster] + rng.normal(size=(300, 3)) * 0.1
    chosen = farthest(points, 30)
    assert len(set(chosen)) == 30 and set(cluster[chosen[:7]]) == set(range(7))
    apart = np.linalg.norm(points[:, None] - points[chosen], axis=2)
    for number in range(1, 30):
        assert apart[:, :number].min(axis=1).argmax() == chosen[number]
    assert len(farthest(points[:4], 30)) == 4


@pytest.mark.parametrize(
    "text",
    ["padim(top=0)", "padim(shrinkage=2)", "padim(around=-1)", "patchcore(top=2)", "patchcore(memory=9)",
     "patchcore(memory=1e5)"],
)  # fmt: skip
def test_scorers_of_places_refuse_options_beyond_their_range(text: str) -> None:
    with pytest.raises(OptionError, match=text.partition("(")[0]):
        make_scorer(text)


@pytest.mark.parametrize(
    "changed",
    ["padim(top=1)", "padim(shrinkage=0.9)", "padim(around=0)", "patchcore(top=1)", "patchcore(shrinkage=0.9)",
     "patchcore(memory=10)"],
)  # fmt: skip
def test_each_option_of_the_scorers_of_places_changes_the_scores(changed: str) -> None:
    one, other = (make_scorer(text).fit(NORMAL).score(NEW) for text in (changed.partition("(")[0], changed))
    assert not np.allclose(one, other)


def test_fisher_joins_the_network_s_error_and_the_texture_s() -> None:
    rng = np.random.default_rng(0)

    def made(n: int, top_local_error: float, texture: float) -> Embeddings:
        losses = {
            "top_local_error": np.exp(rng.normal(top_local_error, 1, n)),
            "texture": np.exp(rng.normal(texture, 1, n)),
        }
        return Embeddings.of(rng.normal(size=(n, 3)), losses=losses)

    text = "fisher(error(pool=top_windows), error(pool=texture))"
    scorer = make_scorer(text).fit(made(400, 0, 0))
    normal, one, other, both = (scorer.score(made(400, *by)).mean() for by in ((0, 0), (2, 0), (0, 2), (2, 2)))
    assert normal < min(one, other) < max(one, other) < both
    again = make_scorer(text).restore(scorer.state())
    new = made(5, 1, 1)
    np.testing.assert_array_equal(again.score(new), scorer.score(new))
    bare = Embeddings.of(new.vectors, losses={"top_local_error": new.losses["top_local_error"]})
    with pytest.raises(DataError, match=r"(?s)needs 'texture'.*--patches"):
        scorer.score(bare)


@pytest.mark.parametrize(("n", "d"), [(6, 9), (40, 100), (300, 12), (500, 60), (60, 1), (100, 1), (30, 30)])
def test_the_shrinkage_is_that_of_scikit_learn(n: int, d: int):
    from sklearn.covariance import ledoit_wolf

    rng = np.random.default_rng(n + d)
    vectors = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) * rng.gamma(2, size=(n, 1)) + 7
    mean, precision = shrunk_gaussian(vectors)
    covariance, shrinkage = ledoit_wolf(vectors - mean, assume_centered=True)
    variance = float(np.square(vectors - mean).mean())
    least = max(1e-12, 1e-9 * variance)  # kept away from zero, however little is shrunk
    assert 0 <= shrinkage <= 1
    assert np.allclose(mean, vectors.mean(axis=0), rtol=1e-12)
    assert np.allclose(np.linalg.inv(precision), covariance + least * np.eye(d), rtol=1e-9, atol=1e-9 * variance)
    centred = vectors - mean
    found, added = _shrinkage(centred, float(np.square(centred.T @ centred).sum()))
    if d > 1:
        assert found == pytest.approx(shrinkage, rel=1e-12, abs=1e-12)
        assert added == pytest.approx(shrinkage * variance + least, rel=1e-12)


def test_embeddings_that_do_not_differ_are_not_shrunk():
    assert _shrinkage(np.zeros((5, 3)), 0.0) == (0.0, 1e-12)
