"""The table of broken run folders: what of a run is spoilt, which command meets it, what its sentence must say."""

from __future__ import annotations

from itertools import product

from spoiling import (
    Misuse,
    each_file,
    flipped,
    folder,
    missing,
    option_with,
    record,
    record_with,
    steps_as,
    steps_with,
    truncated,
    writing,
)

ON_A_RUN = {
    "resume": "run {tiny} {good} --to {run} --resume",
    "ingest": "ingest {bad} --run {run}",
    "train": "train --run {run}",
    "encode": "encode --run {run}",
    "calibrate": "calibrate --run {run}",
    "select": "select --run {run} -n 8",
    "classify": "classify --run {run}",
    "predict": "predict {bad} --run {run} --to {out}",
    "export": "export --run {run} --to {out}/model.onnx",
    "round": "round --run {run} --more 2",
    "report": "report --run {run}",
    "score": "score {bad} --run {run} --to {out}",
    "evaluate": "evaluate --run {run} --normal {good} --anomalous b={bad} --to {out}",
    "lambda": "lambda --run {run} --lambdas 0 1e-4 --iterations 2",
    "label": "label --run {run} --export {out}/labels.csv",
    "import": "label --run {run} --import {plain}/../labels.csv",
}
SELDOM = ("resume", "train", "score")
READS_NO_RECORD = ("resume", "ingest", "train", "label", "import")  # may redo, or do without, what the records say

RECORDS = [
    *(
        Misuse(f"{what}: {name}", words, r"run\.json", record(text))
        for (name, words), (what, text) in product(
            ON_A_RUN.items(), {"run.json is a list": "[1, 2]", "run.json is empty": ""}.items()
        )
    ),
    *(
        Misuse(f"{what}: {name}", ON_A_RUN[name], says, prepare)
        for name, (what, says, prepare) in product(
            SELDOM,
            [
                ("run.json has nothing in it", r"run\.json", record("{}")),
                ("run.json is null", r"run\.json", record("null")),
                ("run.json is a text", r"run\.json", record('"a run"')),
                ("run.json is cut off", r"run\.json", record('{"recipe": "ma')),
                ("run.json is not UTF-8", r"run\.json", record(b'{"recipe": "\xff\xfe"}')),
                ("run.json is deeply nested", r"run\.json", record("[" * 100_000)),
                ("run.json is a folder", r"run\.json", each_file("run.json", folder)),
                ("run.json has options in a list", r"run\.json", record_with(options=[])),
                ("run.json has a section that is a number", r"run\.json", record_with(options={"train": 3})),
                ("run.json has an unknown section", r"run\.json.*trian", record_with(options={"trian": {}})),
                ("run.json has an unknown option", r"run\.json.*iteration", option_with("train", iteration=3)),
                ("run.json has a wrong type", r"run\.json.*many", option_with("train", iterations="many")),
                ("run.json has not-a-number", r"run\.json", option_with("train", rate=float("nan"), lr=float("nan"))),
                ("run.json has set_by in a list", r"run\.json", record_with(set_by=["you"])),
                ("run.json is of a format to come", r"run\.json|format", record_with(format=999)),
                ("run.json is of a format before", r"run\.json|format", record_with(format=0)),
                ("run.json has a recipe that is a number", r"run\.json", record_with(recipe=7)),
            ],
        )
    ),
    *(
        Misuse(
            f"the steps' records are lists: {name}",
            words,
            "json|winnow",
            steps_as([]),
            may_work=name in READS_NO_RECORD,
        )
        for name, words in ON_A_RUN.items()
        if name != "lambda"  # of a run without patches it says so first
    ),
    *(
        Misuse(f"{what}: {name}", ON_A_RUN[name], "json|winnow", prepare, may_work=True)
        for name, (what, prepare) in product(
            ("report", "score", "encode", "export"),
            [
                ("the steps' records are empty", steps_as({})),
                ("the steps' records are null", steps_as(None)),
                ("the steps' keys are numbers", steps_with(key=7)),
                ("the steps' results are lists", steps_with(result=[])),
                ("the steps' results are empty", steps_with(result={})),
            ],
        )
    ),
]


# What the steps wrote
ALL_WAYS = (missing, truncated, flipped, folder)
ARTIFACTS = [  # files, the commands that need them, the ways in which they are spoilt
    ("pool/pixels*.npy", ("train", "encode"), (missing, truncated, folder)),
    ("pool/items.parquet", ("train", "encode", "label"), ALL_WAYS),
    ("pool/pool.json", ("train", "label"), (missing, truncated, folder)),
    ("model/model.safetensors", ("encode", "score"), ALL_WAYS),
    ("model/model.json", ("score", "export"), ALL_WAYS),
    ("model/linear/model.json", ("score",), ALL_WAYS),
    ("e*dings/*.npy", ("calibrate", "select"), ALL_WAYS),
    ("e*dings/*.parquet", ("calibrate",), ALL_WAYS),
    ("e*dings/e*dings.json", ("calibrate", "classify"), ALL_WAYS),
    ("detector/detector.json", ("score", "export"), ALL_WAYS),
    ("detector/detector.npz", ("score", "predict"), ALL_WAYS),
    ("classifier/classifier.json", ("predict",), ALL_WAYS),
    ("classifier/classifier.npz", ("predict", "export"), ALL_WAYS),
    ("selection.csv", ("round", "select"), ALL_WAYS),
    ("selection.json", ("round",), (truncated, folder)),
    ("labels.sqlite", ("classify", "label"), (truncated, folder)),
    ("model/train.jsonl", ("report",), (missing, folder)),
]
SPOILT = [
    Misuse(
        f"{pattern} {encoder.__name__}: {name}",
        ON_A_RUN[name],
        rf"(?i){pattern.rpartition('/')[2].partition('*')[0]}|(winnow|run) (ingest|train|encode|calibrate|select|classify)",
        each_file(pattern, encoder),
        may_work=(pattern, encoder) == ("labels.sqlite", truncated),  # by its log
    )
    for pattern, names, encoders in ARTIFACTS
    for name, encoder in product(names, encoders)
] + [
    Misuse(
        "model/train.jsonl truncated: report",
        ON_A_RUN["report"],
        r"train\.jsonl",
        each_file("model/train.jsonl", truncated),
        may_work=True,
    ),
    Misuse(
        "labels.sqlite is a text: label",
        ON_A_RUN["label"],
        "labels.sqlite",
        writing("run/labels.sqlite", "a text, " * 50),
        may_work=True,  # by its log
    ),
    Misuse(
        "labels.sqlite is empty: label", ON_A_RUN["label"], "label", writing("run/labels.sqlite", ""), may_work=True
    ),
]
