"""What other selection tools pick from the same embeddings; run by `bench/selection.py` in an environment that has them.

python bench/selection_peers.py CODES.npy SEED METHODS BUDGETS OUT.npz
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable

import numpy as np

warnings.filterwarnings("ignore")


def kmeans_nearest(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Choose by scikit-learn's KMeans, the picture nearest to each centre."""
    from sklearn.cluster import KMeans

    model = KMeans(k, n_init=1, random_state=seed).fit(vectors)
    distance = ((vectors - model.cluster_centers_[model.labels_]) ** 2).sum(axis=1)
    order = np.lexsort((distance, model.labels_))
    first = np.unique(model.labels_[order], return_index=True)[1]
    return order[first]


def facility_location(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Choose by apricot's facility location with lazy greedy."""
    from apricot import FacilityLocationSelection

    chooser = FacilityLocationSelection(k, metric="euclidean", optimizer="lazy", random_state=seed, verbose=False)
    return np.asarray(chooser.fit(vectors.astype(np.float64)).ranking)


def typiclust(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Choose by scikit-activeml's TypiClust."""
    from skactiveml.pool import TypiClust

    chooser = TypiClust(random_state=seed, missing_label=np.nan, cluster_algo_dict={"n_init": 1, "random_state": seed})
    return np.asarray(chooser.query(vectors, np.full(len(vectors), np.nan), batch_size=k))


def mundig(vectors: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Choose by Lightly Studio's engine, 'diverse'; it takes no seed, so the rows come in a random order."""
    import lightly_mundig

    order = np.random.default_rng(seed).permutation(len(vectors))
    engine = lightly_mundig.Selection()
    engine.add_diversifying_strategy(
        embeddings=np.ascontiguousarray(vectors[order]), strength=1.0, stopping_condition_minimum_distance=None
    )
    return order[
        np.array(engine.run_selection(preselected_indices=[], n_total_samples=len(vectors), n_samples_to_select=k))
    ]


NESTED: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "apricot": facility_location,
    "lightly-mundig": mundig,
}
ANEW: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "KMeans + nearest": kmeans_nearest,
    "TypiClust": typiclust,
}


def main() -> None:
    """Write the rows of each method and budget, and its seconds for the largest."""
    path, seed, methods, budgets, out = sys.argv[1:]
    vectors = np.load(path)
    sizes = [int(size) for size in budgets.split(",")]
    found: dict[str, np.ndarray] = {}
    for name in methods.split(","):
        started = time.perf_counter()
        if name in NESTED:
            rows = NESTED[name](vectors, max(sizes), int(seed))
            found |= {f"{name}/{size}": rows[:size] for size in sizes}
        else:
            for size in sizes:
                started = time.perf_counter()
                found[f"{name}/{size}"] = ANEW[name](vectors, size, int(seed))
        found[f"{name}/seconds"] = np.array(time.perf_counter() - started)
    np.savez(out, **found)


if __name__ == "__main__":
    main()
