"""Labels to and from other tools: python label_tools.py RUN FOLDER, a run with labels and a new folder for what is exchanged.

Label Studio reads `tasks.json` (Import), and what it exports as JSON goes back in the same way. FiftyOne shows the pictures with their
labels where it is installed (pip install fiftyone; it brings a database of its own), and the corrected ones go back by their ids."""

import sys
from pathlib import Path

import winnow
from winnow.tables import read_table, write_table

run, out = winnow.Run(sys.argv[1]), Path(sys.argv[2])
run.export_labels(out / "tasks.json", format="label-studio")
print(run.import_labels(out / "tasks.json"))

run.export_labels(out / "folders", format="imagefolder")
rows = read_table(out / "folders" / "metadata.csv")
try:
    import fiftyone as fo
except ImportError:
    sys.exit(0)
samples = [
    fo.Sample(str(out / "folders" / row["file_name"]), winnow=row["id"], label=fo.Classification(label=row["label"]))
    for row in rows
]
dataset = fo.Dataset("winnow", overwrite=True)
dataset.add_samples(samples)
fo.launch_app(dataset).wait()  # look and correct, then close the page
write_table(out / "corrected.csv", ("id", "label"), [(sample.winnow, sample.label.label) for sample in dataset])
print(run.import_labels(out / "corrected.csv"))
