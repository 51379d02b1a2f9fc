"""The steps from Python: one object for a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from winnow.detect.drift import BLOCK
from winnow.errors import OptionError, WinnowError, did_you_mean
from winnow.options import Options
from winnow.results import (
    Calibrated,
    Classified,
    Encoded,
    Evaluated,
    Exported,
    Ingested,
    LabelsExported,
    LabelsImported,
    Predicted,
    Recalibrated,
    Scored,
    Selected,
    Trained,
    WeightSearch,
)
from winnow.results.words import count
from winnow.run.folder import RunFolder
from winnow.run.working_copy import on_this_disk, refuse_page
from winnow.stages import STAGES

if TYPE_CHECKING:
    from winnow.classify.classifier import Classifier
    from winnow.detect.detector import Detector
    from winnow.embeddings import Embeddings


Sources = str | Path | Sequence[str | Path]


class Run:
    """A run folder, or a run in a bucket (s3://bucket/run), and its steps; options are keyword arguments with the names of the
    command line's flags.

        run = winnow.Run("runs/match", recipe="oneclass", every=0.5)
        run.fit(["match1.mp4", "frames/"])
        run.score("new.mp4").videos

    A new folder is made when there is none; `recipe` and options then start from the recipe, later calls keep what
    the folder has. `from_scratch` trains a network though weights of a pretrained one are at hand (recipe oneclass). `trust`
    names parts of your own, 'module:Class', that the folder may load. Raises `OptionError` for an unknown option and
    `RunError` when a step is missing.

    Each step returns a dataclass of `winnow.results`: `ingest` an `Ingested`, `score` a `Scored`, and so on. Its fields are the figures;
    `.table()` is its rows as a pyarrow table (of `score`, `predict` and `evaluate` one a picture), `.to_pandas()` a DataFrame of them.

    Options, by section, each with its default where the recipe sets no other:
    """

    def __init__(
        self,
        path: str | Path,
        recipe: str = "",
        *,
        from_scratch: bool = False,
        trust: Sequence[str] = (),
        **options: Any,
    ) -> None:
        self.folder = RunFolder.begun(path, recipe, given=_by_section(options), from_scratch=from_scratch)
        self.folder.trusted |= set(trust)
        self.set(**options)

    def __repr__(self) -> str:
        """Return what the run is: its folder, recipe, finished steps and pictures."""
        recipe = f", recipe={self.folder.recipe!r}" if self.folder.recipe else ""
        try:
            done = [name for name in STAGES if self.folder.record(name) is not None]
            held = self.folder.result(Ingested) if "ingest" in done else None
        except WinnowError as error:
            return f"<winnow.Run({str(self.folder.path)!r}{recipe}): {error.message}>"
        pictures = count(held.pictures + held.frames, "picture") if held else "no picture yet"
        return f"<winnow.Run({str(self.folder.path)!r}{recipe}): {pictures}; done: {', '.join(done) or 'nothing'}>"

    def set(self, **options: Any) -> Run:
        """Change options; the steps that depend on them must then be run again. They are stored when a step begins."""
        self.folder.update(_by_section(options))
        return self

    def fit(self, sources: Sources, *, resume: bool = False) -> Run:
        """Ingests, trains, encodes, calibrates, chooses pictures where a number is set, and writes the report."""
        from winnow.steps.run import run

        for _ in run(self.folder, _listed(sources), resume=resume):
            pass
        return self

    def ingest(self, sources: Sources) -> Ingested:
        """Read sources into the pool."""
        return self._do("ingest", _listed(sources))

    def train(self, *, resume: bool = False) -> Trained:
        """Train the model."""
        return self._do("train", resume=resume)

    def encode(self, *, resume: bool = False) -> Encoded:
        """Encode the pool."""
        return self._do("encode", resume=resume)

    def calibrate(self, **options: Any) -> Calibrated:
        """Fit the scorer and set the threshold; `false_alarm_rate`, `confidence`, `scorer`, ... may be given here."""
        with self.folder.trying(_by_section(options)):
            return self._do("calibrate")

    def recalibrate(self, sources: Sources = (), *, confirmed: bool = False, undo: bool = False) -> Recalibrated:
        """Propose the threshold that reviewed pictures set, confirm it or take it back; see `winnow.steps.recalibrate.recalibrate`."""
        from winnow.steps.recalibrate import recalibrate

        return recalibrate(self.folder, _listed(sources), confirmed=confirmed, undo=undo)

    def select(self, number: int | None = None, *, also: Sources = (), **options: Any) -> Selected:
        """Choose the pictures worth labelling; `method`, `per_group`, ... may be given here; see `winnow.steps.select.select`."""
        with self.folder.trying(_by_section(options)):
            return self._do("select", number, also=_listed(also))

    def classify(self, *, labels: Sources = (), **options: Any) -> Classified:
        """Learn a classifier from the labels; `head`, `folds`, ... may be given here; see `winnow.steps.classify.classify`."""
        with self.folder.trying(_by_section(options)):
            return self._do("classify", labels=_listed(labels))

    def step(self, name: str, *, resume: bool = False) -> Any:
        """Do a step of your own, 'module:NAME' or of an installed package, and return its result; see docs/extending.md."""
        from winnow.run.own_step import do_own_step

        return do_own_step(self.folder, name, resume=resume)

    def _do(self, step: str, *arguments: Any, **options: Any) -> Any:
        return STAGES[step](self.folder, *arguments, **options)

    def predict(
        self,
        sources: Sources,
        *,
        to: str | Path | None = None,
        by: Literal["picture", "track"] = "picture",
        regions: bool | None = None,
        false_discoveries: float | None = None,
    ) -> Predicted:
        """Tell the class of new pictures and videos; see `winnow.steps.predict.predict`."""
        from winnow.steps.predict import predict

        run = self._judged_by("", regions)
        return predict(run, _listed(sources), to=to, by=by, false_discoveries=false_discoveries)

    def export(
        self,
        to: str | Path | None = None,
        *,
        only: Literal["", "classifier", "anomaly-model"] = "",
        int8: bool = False,
        max_changed: float = 0.01,
        triton: str | Path | None = None,
        regions: bool | None = None,
    ) -> Exported:
        """Write classifier and anomaly model as one ONNX file that gives the same results; see `winnow.steps.export.export`."""
        from winnow.steps.export import export

        repository = None if triton is None else on_this_disk(Path(triton))
        run = self._judged_by("", regions)
        return export(run, to, only=only, int8=int8, max_changed=max_changed, triton=repository)

    def round(self, more: int, *, also: Sources = ()) -> Selected:
        """Adds the next pictures to label, uncertain and diverse; see `winnow.steps.round.next_round`."""
        from winnow.steps.round import next_round

        return next_round(self.folder, more, also=_listed(also))

    def score(
        self,
        sources: Sources,
        *,
        to: str | Path | None = None,
        heatmaps: str | Path | None = None,
        mode: str = "",
        regions: bool | None = None,
        false_discoveries: float | None = None,
        drift_alarm: float | None = None,
        drift_block: float = BLOCK,
    ) -> Scored:
        """Judge new pictures and videos, by another mode or with or without their parts for this call; see `winnow.steps.score.score`."""
        from winnow.steps.score import score

        return score(
            self._judged_by(mode, regions),
            _listed(sources),
            to=to,
            heatmaps=heatmaps,
            false_discoveries=false_discoveries,
            drift_alarm=drift_alarm,
            drift_block=drift_block,
        )

    def evaluate(
        self,
        normal: Sources,
        anomalous: Mapping[str, Sources],
        *,
        masks: str | Path | None = None,
        mode: str = "",
        regions: bool | None = None,
    ) -> Evaluated:
        """Measure the run where the truth is known; see `winnow.steps.evaluate.evaluate`."""
        from winnow.steps.evaluate import evaluate

        groups = {name: _listed(sources) for name, sources in anomalous.items()}
        return evaluate(self._judged_by(mode, regions), _listed(normal), groups, masks=_path(masks))

    def search_weight(
        self,
        sources: Sources = (),
        *,
        lambdas: Sequence[float] = (),
        defects: str | Path | None = None,
        masks: str | Path | None = None,
        iterations: int | None = None,
        use: bool = False,
    ) -> WeightSearch:
        """Search the weight of a VAE's latent loss; see `winnow.steps.weight.search_weight`."""
        from winnow.steps.run import search_weight

        given: dict[str, Any] = {"defects": defects, "masks": _path(masks), "iterations": iterations, "use": use}
        return search_weight(self.folder, _listed(sources), weights=lambdas or None, **given)

    def _judged_by(self, mode: str, regions: bool | None) -> RunFolder:
        """Return the run with another mode, with or without the parts of pictures, for one call."""
        given = {**({"mode": mode} if mode else {}), **({} if regions is None else {"regions": regions})}
        return self.folder.with_options({"score": given} if given else {})

    def report(self, to: str | Path | None = None) -> str | Path:
        """Write report.html, in the run folder unless `to` names another file, and return its path."""
        from winnow.steps.report.page import report

        return report(self.folder, to)

    def label(
        self,
        classes: Sequence[str] = (),
        *,
        port: int = 8765,
        who: str = "",
        open_browser: bool = False,
        blind: bool = False,
    ) -> None:
        """Serve the labelling page on 127.0.0.1 until Ctrl-C; see `winnow.steps.label.label`."""
        from winnow.steps.label import label

        refuse_page(self.folder.path)
        label(self.folder, classes=classes, port=port, who=who, open_browser=open_browser, blind=blind)

    def labels(self) -> dict[str, tuple[str, str, str]]:
        """Return label, who gave it and when (ISO, UTC) of every labelled item, by its id."""
        from winnow.run.labels import labels

        return labels(self.folder)

    def import_labels(self, path: str | Path, *, classes: Sequence[str] = ()) -> LabelsImported:
        """Take over labels of CSV, JSON (Label Studio, COCO) or a folder; see `winnow.steps.label.import_labels`."""
        from winnow.steps.label import import_labels

        return import_labels(self.folder, on_this_disk(Path(path)), classes=classes)

    def export_labels(self, path: str | Path, *, format: str = "", from_pool: bool = False) -> LabelsExported:
        """Write the labels to a file or folder; see `winnow.steps.label.export_labels`."""
        from winnow.steps.label import export_labels

        return export_labels(self.folder, on_this_disk(Path(path)), format, from_pool=from_pool)

    @property
    def embeddings(self) -> Embeddings:
        """Return the embeddings and losses of the pool, as `winnow.Embeddings`: those of the whole network.

        With the mode 'fast' those of the small network beside it, which `detector` then scores, and `classifier` does not read.
        """
        from winnow.run.artifacts import load_embeddings

        return load_embeddings(self.folder, cells=True)

    @property
    def classifier(self) -> Classifier:
        """Return the run's `winnow.Classifier`, to predict embeddings with."""
        from winnow.run.artifacts import load_classifier

        return load_classifier(self.folder)

    @property
    def detector(self) -> Detector:
        """Return the calibrated `winnow.Detector` of the run's mode."""
        from winnow.run.artifacts import load_detector

        return load_detector(self.folder)


def _documented() -> str:
    """Return the options of a run as lines of text."""
    lines = []
    for title, section in Options():
        lines.append(f"\n    {title}")
        for name, field in type(section).model_fields.items():
            lines.append(f"        {name}={field.default!r}: {field.description}")
    return "\n".join(lines) + "\n"


if Run.__doc__:  # there is none under python -OO
    Run.__doc__ = f"{Run.__doc__.rstrip()}\n{_documented()}"


def _path(given: str | Path | None) -> Path | None:
    """Return a path on this disk; `OptionError` for an address in a bucket."""
    return None if given is None else on_this_disk(Path(given))


def _listed(sources: Sources) -> list[str | Path]:
    return [sources] if isinstance(sources, str | Path) else list(sources)


def _by_section(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    sections = Options()
    home = {name: section for section in Options.model_fields for name in type(getattr(sections, section)).model_fields}
    result: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        if name not in home:
            raise OptionError(f"There is no option '{name}'.", did_you_mean(name, list(home)))
        result.setdefault(home[name], {})[name] = value
    return result
