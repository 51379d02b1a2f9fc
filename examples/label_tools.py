"""Labels to and from other tools: python label_tools.py RUN, a run with labels.

Label Studio reads `tasks.json` (Import), and its export (JSON) goes back by `import_labels`. FiftyOne reads the folder with a folder for
each class, and its export of the same kind goes back in the same way."""

import sys
from pathlib import Path

import winnow

run = winnow.Run(sys.argv[1])
out = Path(sys.argv[1]) / "exchange"
run.export_labels(out / "tasks.json", format="label-studio")
run.export_labels(out / "folders", format="imagefolder")
print(f"{out / 'tasks.json'} for Label Studio, {out / 'folders'} for FiftyOne")

print(run.import_labels(out / "tasks.json"))  # as Label Studio gives them back, corrected

try:
    import fiftyone
except ImportError:
    sys.exit(0)  # pip install fiftyone
kind = fiftyone.types.ImageClassificationDirectoryTree
dataset = fiftyone.Dataset.from_dir(dataset_dir=str(out / "folders"), dataset_type=kind)
dataset.export(export_dir=str(out / "from-fiftyone"), dataset_type=kind, label_field="ground_truth")
print(run.import_labels(out / "from-fiftyone"))
