"""What the label page shows of a run's pool as a whole: groups of look-alikes, tracks, the map."""

from __future__ import annotations

import numpy as np

from winnow.embeddings import Embeddings
from winnow.label.catalogue import Catalogue
from winnow.label.groups import Grouped, GroupLane, by_name
from winnow.label.picture_map import Mapped, PictureMap
from winnow.pool.pool import Pool
from winnow.run.cache import Cache, kept_map
from winnow.run.folder import RunFolder
from winnow.select.look_alikes import look_alikes


def group_lanes(run: RunFolder, pool: Pool, catalogue: Catalogue) -> dict[str, GroupLane]:
    """Return the lanes of groups that a run can have: look-alikes where it is encoded, tracks where crops were followed."""
    lanes = {}
    if run.done("encode"):
        lanes["groups"] = GroupLane("Groups of look-alikes", lambda: _look_alikes(run, pool, catalogue))
    if "track" in pool.items.column_names and any(pool.items.column("track").unique().to_pylist()):
        lanes["tracks"] = GroupLane("Tracks: crops of one person", lambda: _tracks(pool, catalogue))
    return lanes


def map_of(run: RunFolder, pool: Pool, catalogue: Catalogue) -> PictureMap | None:
    """Return the map of a run's pictures, None where they have no embeddings."""
    return PictureMap(lambda: _mapped(run, pool, catalogue)) if run.done("encode") else None


def _mapped(run: RunFolder, pool: Pool, catalogue: Catalogue) -> Mapped:
    from winnow.run.artifacts import load_detector, own_scores

    embeddings = Embeddings.load(run.folder("encode"))
    n, cache = len(embeddings), Cache(run)
    positions = kept_map(cache, run.about("encode")["sha256"]["vectors.npy"], lambda: embeddings.vectors, n)
    scores = None
    if run.done("calibrate"):
        scores = own_scores(run, load_detector(run), n, cache)
    cache.keep()
    known = np.array([str(name) in catalogue for name in embeddings.ids], bool)
    rows = pool.rows_of(embeddings.ids)
    return Mapped(rows[known], positions[known], None if scores is None else scores[known])


def _look_alikes(run: RunFolder, pool: Pool, catalogue: Catalogue) -> Grouped:
    embeddings = Embeddings.load(run.folder("encode"))
    places = pool.rows_of(embeddings.ids)
    sources, times = pool.column("source")[places], pool.column("time")[places]
    options, n = run.options.select, len(embeddings)
    cache = Cache(run)
    found = cache.get(
        "look-alikes",
        [run.about("encode")["sha256"]["vectors.npy"], options.duplicate_distance, options.duplicate_seconds],
        lambda: look_alikes(
            embeddings.vectors,
            options.duplicate_distance,
            sources=sources,
            times=times,
            seconds=options.duplicate_seconds,
        ),
        lambda kept: kept.ndim == 2 and len(kept) == 2 and bool((kept[0] < n).all() and (np.diff(kept[1]) >= 0).all()),
    )
    cache.keep()
    known = np.array([str(embeddings.ids[row]) in catalogue for row in found[0]], bool)
    return Grouped(places[found[0][known]], found[1][known])


def _tracks(pool: Pool, catalogue: Catalogue) -> Grouped:
    """Return the crops of each track in the order of time, of pictures in the pool's; a track lies within one of the pool's groups."""
    tracks, groups, times = pool.column("track"), pool.column("group"), np.nan_to_num(pool.column("time"))
    rows = [row for row in catalogue.lanes["all"].rows.tolist() if tracks[row]]
    rows.sort(key=lambda row: times[row])
    return by_name({row: (groups[row], tracks[row]) for row in rows})
