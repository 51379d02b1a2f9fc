"""Winnow inside scikit-learn: a pipeline and a search for the best scorer, on embeddings."""

import numpy as np
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import winnow

rng = np.random.default_rng(0)
normal, odd = rng.normal(size=(300, 16)), rng.normal(4, 1, size=(10, 16))

pipeline = make_pipeline(StandardScaler(), winnow.Detector(scorer="knn")).fit(normal)
print("told:", pipeline.predict(odd))

labels = np.where(normal[:, 0] > 0, "left", "right")
classifier = make_pipeline(StandardScaler(), winnow.Classifier())
print(f"right, held out: {cross_val_score(classifier, normal, labels).mean():.0%}")
