"""The part of the report on a threshold that was set anew, or waits to be confirmed."""

from __future__ import annotations

from winnow.report import figures
from winnow.report.html import Section, Table, chart
from winnow.results.words import percent
from winnow.run.folder import RunFolder
from winnow.run.recalibration import in_force, proposed
from winnow.steps.recalibrate import compared, deciding


def recalibration_sections(run: RunFolder) -> list[Section]:
    """Return both thresholds with what they refuse, and the scores of both sets of pictures; nothing where no other was proposed."""
    mode = run.options.score.mode
    found = proposed(run, mode) or in_force(run, mode)
    if found is None:
        return []
    result, (own, later) = compared(run, mode, found), deciding(run, mode, found)
    scores = {"run's own, held out": own.calibration, "reviewed since": later.calibration}
    rows = [
        (name, one.threshold, percent(one.false_alarm_rate, 2), one.new_refused, one.own_refused)
        for name, one in (("old", result.old), ("new", result.new))
    ]
    return [
        Section(
            "Threshold set anew",
            figures=[
                chart(f"Scores and the {name} threshold", figures.histograms, scores, one.threshold, normal=2)
                for name, one in (("old", result.old), ("new", result.new))
            ],
            tables=[
                Table(
                    ("threshold", "score", "false alarms", f"refused of {result.pictures:,} reviewed",
                     f"refused of {result.own_pictures:,} own"),
                    rows,
                    marked=[int(result.in_force)],
                    caption=f"The {'new' if result.in_force else 'old'} one decides. The new one refuses few of the reviewed pictures, "
                    "for these have set it.",
                )
            ],
        )
    ]  # fmt: skip
