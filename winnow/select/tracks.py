"""One crop of each track: a label of it counts for all of them."""

from __future__ import annotations

import numpy as np

from winnow.embeddings import unit_length


def stand_ins_of_tracks(vectors: np.ndarray, rows: np.ndarray, tracks: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return for each of `rows` (m,) of embeddings (n, d) the row that stands for it: (m,), -1 where its track is done with.

    `tracks` (n,) are names, "" or None where a picture has none and stands for itself. For the crops of a track stands that
    nearest to their mean, by cosine; for none where one of its crops is among the rows `taken`, listed or labelled already.
    """
    found = np.array(rows)
    done = {name for name in tracks[taken] if name}
    members: dict[str, list[int]] = {}
    for place, name in enumerate(tracks[rows]):
        if name:
            members.setdefault(name, []).append(place)
    for name, places in members.items():
        if name in done:
            found[places] = -1
        elif len(places) > 1:
            crops = unit_length(np.asarray(vectors[rows[places]]))
            found[places] = rows[places[int((crops @ crops.mean(axis=0)).argmax())]]
    return found
