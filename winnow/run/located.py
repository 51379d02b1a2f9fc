"""The damage in judged pictures, written: a table of the defects, and three pictures of each picture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from winnow.files import replacing
from winnow.inspect.locate import Picture
from winnow.progress import progress
from winnow.report.overlays import map_png, mask_png, overlay
from winnow.run.judge import seconds, shortened
from winnow.tables import write_table


def write_located(
    located: Iterable[tuple[int, Picture]], count: int, folder: Path, heatmaps: Path | None, *, pages: bool
) -> dict[int, int]:
    """Write defects.csv into `folder`, and an anomaly map, a mask and an overlay of each of `count` pictures into `heatmaps`.

    The table has a column for the page of a picture where `pages` are known. Returns how many defects each row has.
    """
    counts, defects = {}, []
    with progress("locate", count, "pictures") as advance:
        for row, picture in located:
            counts[row] = len(picture.defects)
            time, page = seconds(picture.time), [picture.page] if pages else []
            defects += [(picture.source, time, *page, *box, f"{found:.6g}") for *box, found in picture.defects]
            if heatmaps is not None:
                name = shortened(Path(picture.source).stem)
                part = f"-{time}" if time else f"-page{picture.page}" if picture.page else ""
                _draw(heatmaps / f"{row:05d}-{name}{part}", picture)
            advance()
    columns = ("source", "time", *(["page"] if pages else []), "x", "y", "width", "height", "score")
    write_table(folder / "defects.csv", columns, defects)
    return counts


def _draw(stem: Path, picture: Picture) -> None:
    """Write NAME.overlay.png, NAME.mask.png and, where there is an anomaly map, NAME.map.png."""
    anomaly_map = np.zeros(picture.mask.shape) if picture.anomaly_map is None else picture.anomaly_map.clip(0, 1)
    files = {
        "overlay": overlay(picture.pixels, anomaly_map, [defect[:4] for defect in picture.defects]),
        "mask": mask_png(picture.mask),
        **({} if picture.anomaly_map is None else {"map": map_png(anomaly_map)}),
    }
    for kind, png in files.items():
        with replacing(stem.with_name(f"{stem.name}.{kind}.png")) as temporary:
            temporary.write_bytes(png)
