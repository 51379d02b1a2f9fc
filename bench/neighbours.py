"""What finding neighbours by cells does to the heads `label_spreading` and `knn`: macro F1 and time against all pairs.

    python bench/neighbours.py [--quick] [--seeds 3]

Fashion-MNIST (its training pictures, their 64 first principal components) and drawn clusters; 50,000 pictures kept
(--quick: 25,000), 4,000 judged. Of the kept ones `label_spreading` has 200 labels, drawn by the seed, `knn` all.
"""

from __future__ import annotations

import time

import numpy as np

from winnow.classify.heads import Head, KNearest, LabelSpreading
from winnow.classify.neighbours import Neighbours
from winnow.embeddings import unit_length

from common import arguments, finish, mean_deviation, need, table

JUDGED = 4000


def fashion(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, 64) and class numbers of Fashion-MNIST's training pictures in a drawn order."""
    data = np.load(need("fashion_mnist.npz"))
    some = np.random.default_rng(5).permutation(len(data["x_train"]))[:n]
    pixels = data["x_train"][some].reshape(n, -1).astype(np.float32)
    pixels -= pixels.mean(axis=0)
    axes = np.linalg.svd(pixels[:3000], full_matrices=False)[2][:64]
    return unit_length(pixels @ axes.T), data["y_train"][some].astype(int)


def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return features (n, 64) of 200 overlapping Gaussian clusters, twenty to each of ten classes."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 200, n)
    vectors = (0.6 * rng.normal(size=(200, 64))[cluster] + rng.normal(size=(n, 64))).astype(np.float32)
    return unit_length(vectors - vectors.mean(axis=0)), cluster % 10


def judged(head: Head, exact: int, features: np.ndarray, truth: np.ndarray, target: np.ndarray) -> tuple[float, float]:
    """Return macro F1 on the last `JUDGED` pictures of a head with the index that compares all pairs up to `exact`, and CPU seconds."""
    from sklearn.metrics import f1_score

    kept, started = features[:-JUDGED], time.process_time()
    head.features, head._index = kept, Neighbours(kept, exact)
    if isinstance(head, LabelSpreading):
        from winnow.classify.heads import graph_of

        head._graph = graph_of(kept, head._index)
        head.fit(kept, target, 10)
    else:
        head.fit(kept, target, 10)
        head._index = Neighbours(head.features, exact)
    said = head.logits(features[-JUDGED:]).argmax(axis=1)
    return float(f1_score(truth[-JUDGED:], said, average="macro")), time.process_time() - started


def main() -> None:
    given, started = arguments(__doc__), time.perf_counter()
    n = JUDGED + (25_000 if given.quick else 50_000)
    rows = []
    for name, (features, truth) in (("Fashion-MNIST", fashion(n)), ("clusters", drawn(n))):
        for kind, labels in ((LabelSpreading, 200), (KNearest, n - JUDGED)):
            found = []
            for seed in range(given.seeds if labels < n - JUDGED else 1):
                target = np.full(n - JUDGED, -1)
                some = np.random.default_rng(seed).choice(n - JUDGED, labels, replace=False)
                target[some] = truth[some]
                found.append([judged(kind(), exact, features, truth, target) for exact in (n, 0)])
            (all_pairs, slow), (cells, fast) = np.array(found).transpose(1, 2, 0)
            rows.append(
                {
                    "pictures": name,
                    "head": kind.__name__,
                    "F1, all pairs": mean_deviation(all_pairs),
                    "F1, cells": mean_deviation(cells),
                    "difference": mean_deviation(cells - all_pairs),
                    "CPU s, all pairs": float(slow.mean()),
                    "CPU s, cells": float(fast.mean()),
                }
            )
    table(rows, f"{n - JUDGED:,} pictures kept, {JUDGED:,} judged")
    finish("neighbours", started, rows=rows)


if __name__ == "__main__":
    main()
