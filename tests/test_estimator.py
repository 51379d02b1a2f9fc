"""Detector and Classifier in scikit-learn, and the results as tables."""

from __future__ import annotations

import csv
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_outlier_detector
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

import winnow
from winnow import Classifier, Detector
from winnow.errors import DataError, OptionError, RunError, WinnowError

RNG = np.random.default_rng(0)
NORMAL, STRANGE = RNG.normal(0, 1, (120, 5)), RNG.normal(6, 1, (40, 5))
BOTH, TRUTH = np.concatenate([NORMAL, STRANGE]), np.repeat([1, -1], [120, 40])

OWN_ERRORS = "what cannot be judged is an error of winnow.errors, where it wants a ValueError, a NotFittedError or words of its own"
OWN_NAMES = "attributes and arguments keep their names, and do not end in an underscore"
AT_ONCE = "an option that does not fit is refused when it is given, not when it is used"
EXCLUDED = {
    "check_estimators_unfitted": OWN_ERRORS,
    "check_complex_data": OWN_ERRORS,
    "check_estimators_empty_data_messages": OWN_ERRORS,
    "check_estimators_nan_inf": OWN_ERRORS,
    "check_estimator_sparse_tag": OWN_ERRORS,
    "check_estimator_sparse_array": OWN_ERRORS,
    "check_estimator_sparse_matrix": OWN_ERRORS,
    "check_fit2d_1sample": OWN_ERRORS,
    "check_fit1d": OWN_ERRORS,
    "check_fit2d_predict1d": OWN_ERRORS,
    "check_n_features_in": OWN_ERRORS,
    "check_n_features_in_after_fitting": OWN_NAMES,
    "check_no_attributes_set_in_init": OWN_NAMES,
    "check_dont_overwrite_parameters": OWN_NAMES,
    "check_do_not_raise_errors_in_init_or_set_params": AT_ONCE,
    "check_set_params": AT_ONCE,
}
OF_DETECTOR = {"check_outliers_train": "predict says True and False, not +1 and -1"}
OF_CLASSIFIER = {
    "check_fit_score_takes_y": OWN_NAMES,
    "check_classifier_data_not_an_array": "labels are a list or an array",
    "check_classifiers_one_label": "one class alone is an error: nothing could be measured",
    "check_classifiers_classes": "-1 among numbers is no class, but a picture without a label",
    "check_classifiers_train": OWN_ERRORS,
    "check_classifiers_regression_target": OWN_ERRORS,
    "check_supervised_y_no_nan": "NaN is a picture without a label",
    "check_supervised_y_2d": OWN_ERRORS,
    "check_requires_y_none": OWN_ERRORS,
}


@pytest.mark.parametrize(
    ("estimator", "excluded"), [(Detector("knn"), EXCLUDED | OF_DETECTOR), (Classifier(), EXCLUDED | OF_CLASSIFIER)]
)
@pytest.mark.filterwarnings("ignore")
def test_the_checks_of_scikit_learn_pass_but_those_that_do_not_apply(estimator, excluded):
    found = estimator_checks.check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {check["check_name"]: str(check["exception"]) for check in found if check["status"] == "failed"}
    assert {name: said for name, said in failed.items() if name not in excluded} == {}
    assert sum(check["status"] == "passed" for check in found) >= 20


def test_a_detector_is_cloned_set_and_fitted_anew():
    detector = Detector("knn(k=3)", false_alarm_rate=0.2).fit(NORMAL)
    check_is_fitted(detector)
    copy = clone(detector)
    assert copy.get_params() == detector.get_params() and not len(copy.calibration)
    assert detector.set_params(scorer="mahalanobis", false_alarm_rate=0.1) is detector
    assert detector.scorer_name == "mahalanobis" and not len(detector.calibration)
    with pytest.raises(OptionError, match="no option 'scorr'"):
        detector.set_params(scorr="knn")
    with pytest.raises(OptionError, match="contamination"):
        detector.set_params(contamination=2)
    assert detector.false_alarm_rate == 0.1
    assert (
        repr(detector) == "Detector(scorer='mahalanobis', false_alarm_rate=0.1)"
        and repr(Classifier()) == "Classifier()"
    )
    assert is_outlier_detector(detector) and is_classifier(Classifier())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Classifier().set_params(head=1), "There is no head '1'."),
        (lambda: Classifier(head=["logistic"]), "There is no head"),
        (lambda: Classifier(folds="5"), "folds is '5'; it must be a whole number, 2 or more."),
        (lambda: Classifier(pseudo=0.5), "pseudo is 0.5"),
        (lambda: Detector().set_params(folds=None), "folds is None"),
        (lambda: Detector(false_alarm_rate="1 %"), "false_alarm_rate is 1 %"),
        (lambda: Detector(confidence="high"), "confidence is high"),
        (lambda: Detector(contamination="some"), "contamination is some"),
        (lambda: Detector(scorer=1), "1 is not a scorer"),
    ],
)
def test_an_option_of_another_type_is_told_of_like_one_out_of_range(make, said):
    with pytest.raises(OptionError, match=re.escape(said)):
        make()


def test_data_that_do_not_do_are_a_value_error_as_in_scikit_learn():
    assert issubclass(DataError, ValueError)
    for call in (
        lambda: Detector("knn").fit(NORMAL * np.nan),
        lambda: Detector("knn").score(NORMAL),
        lambda: Classifier().fit(NORMAL, ["one"] * len(NORMAL)),
        lambda: winnow.choose(NORMAL[0], 3),
    ):
        with pytest.raises(DataError):
            call()


def test_a_detector_in_a_pipeline_judges_as_alone():
    pipeline = make_pipeline(StandardScaler(), Detector("knn")).fit(NORMAL)
    scaled = StandardScaler().fit(NORMAL)
    alone = Detector("knn").fit(scaled.transform(NORMAL))
    assert np.array_equal(pipeline.predict(BOTH), alone.predict(scaled.transform(BOTH)))
    assert np.array_equal(pipeline.decision_function(BOTH) >= 0, pipeline.predict(BOTH))
    assert np.allclose(pipeline.score_samples(BOTH), -alone.score(scaled.transform(BOTH)))


def test_a_search_over_scorers_and_a_classifier_cross_validated():
    search = GridSearchCV(
        Detector("knn"), {"scorer": ["knn", "mahalanobis"]}, scoring="roc_auc", cv=2, error_score="raise"
    )
    order = RNG.permutation(len(BOTH))
    assert search.fit(BOTH[order], TRUTH[order]).cv_results_["mean_test_score"].shape == (2,)
    labels = np.where(TRUTH > 0, "in", "out")[order]
    scores = cross_val_score(make_pipeline(StandardScaler(), Classifier()), BOTH[order], labels, cv=3)
    assert scores.min() > 0.95
    assert Classifier().fit(BOTH, np.where(TRUTH > 0, "in", "out")).classes_.tolist() == ["in", "out"]


def test_winnow_imports_neither_scikit_learn_nor_torch():
    code = "import sys, winnow; print([name for name in ('sklearn', 'torch', 'pandas') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_results_are_tables_and_the_run_says_what_it_is(finished_run, pictures, anomalous, tmp_path, monkeypatch):
    run = winnow.Run(finished_run)
    assert "oneclass-from-scratch" in repr(run) and "96 pictures" in repr(run) and "calibrate" in repr(run)
    assert "no picture yet" in repr(winnow.Run(tmp_path / "new"))
    for name in ("false_alarm_rate=", "duplicate_seconds=", "to_pandas"):
        assert name in winnow.Run.__doc__
    found = run.score([pictures, anomalous], to=tmp_path / "scores")
    table = found.table()
    assert table.num_rows == found.pictures and table["belongs"].to_pylist().count(True) == found.belong
    with (tmp_path / "scores" / "scores.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["belongs"] == "no"]
    rows.sort(key=lambda row: -float(row["score"]))
    assert len(found.worst) == 10
    assert {one.name for one in found.worst} <= {row["source"] for row in rows[:12]}
    from winnow import show

    said = show.score(found).splitlines()
    assert sum(".png" in line for line in said) == 10 and f"and {len(rows) - 10} more in scores.csv" in said[12]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(WinnowError, match="needs pandas"):
        found.to_pandas()
    (tmp_path / "scores" / "scores.csv").unlink()
    with pytest.raises(RunError, match="not there any more"):
        found.table()
