"""Flip one bit of a run's files, of every kind, again and again, and count what the commands that read them do.

    python bench/fuzz_artifacts.py --flips 60

Each flip is tried in a process of its own. What may happen: the command refuses with a sentence ("told"), or its results are
those of the whole file ("harmless"). What may not: other results without a word, a traceback, more than 30 s, more than 2 GiB.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import winnow
from winnow.cli import main as command

from small_runs import OPTIONS, judged_run
from tiny_detectors import write_persons

LONGEST, LARGEST = 30, 2 << 30  # seconds, bytes
RESULTS = (".csv", ".npy", ".npz", ".parquet", ".html", ".safetensors")
SCORE, PREDICT = "score {base}/bad --run {run} --to {out}", "predict {base}/bad --run {run} --to {out}"
REPORT, ENCODE = "report --run {run} --to {out}/report.html", "encode --run {run}"
INGEST, EXPORT = "ingest {base}/good --run {run}", "label --run {run} --export {out}/labels.csv"
PERSONS = "score {base}/persons/a --run {run} --to {out}"
KINDS = {
    "run/run.json": (SCORE, PREDICT, REPORT),
    "run/steps/ingest.json": (SCORE, REPORT),
    "run/steps/train.json": (SCORE, REPORT),
    "run/steps/encode.json": (SCORE, REPORT),
    "run/steps/calibrate.json": (SCORE, REPORT),
    "run/steps/classify.json": (PREDICT, REPORT),
    "run/steps/select.json": ("select --run {run} -n 6", REPORT),
    "run/pool/pool.json": (ENCODE, EXPORT),
    "run/pool/items.parquet": (ENCODE, EXPORT),
    "run/pool/pixels-00000.npy": (ENCODE, "select --run {run} -n 6"),
    "run/pool/parts/00000.json": (INGEST,),
    "run/pool/quarantine.csv": (REPORT,),
    "run/model/model.json": (SCORE, ENCODE),
    "run/model/model.safetensors": (SCORE, ENCODE),
    "run/model/linear/model.json": (ENCODE,),
    "run/model/background/model.safetensors": (ENCODE,),
    "run/model/checkpoints/last.safetensors": ("checkpoint",),
    "run/model/train.jsonl": (REPORT,),
    "run/embeddings/embeddings.json": ("calibrate --run {run}", PREDICT),
    "run/embeddings/vectors.npy": ("calibrate --run {run}",),
    "run/embeddings/losses.parquet": ("calibrate --run {run}",),
    "run/detector/detector.json": (SCORE,),
    "run/detector/detector.npz": (SCORE,),
    "run/classifier/classifier.json": (PREDICT,),
    "run/classifier/classifier.npz": (PREDICT,),
    "run/classifier/labelled.csv": (REPORT,),
    "run/selection.csv": ("select --run {run} -n 6", EXPORT),
    "run/selection.json": ("select --run {run} -n 6",),
    "run/outliers.csv": (EXPORT,),
    "run/scores/scores.json": (REPORT,),
    "run/scores/scores.csv": (REPORT,),
    "run/scores/results.json": ("score {base}/bad --run {run}",),
    "run/evaluation/evaluation.json": (REPORT,),
    "run/evaluation/scores.csv": (REPORT,),
    "model.onnx": ("predict {base}/bad --onnx {here}/model.onnx --to {out}",),
    "yolox.onnx": (PERSONS.replace("{run}", "{here}/people"),),
}
"""Every kind of artefact, and the commands that read it."""


def make(base: Path) -> None:
    """Make a run that has done everything, one of persons, an exported file, and the pictures they are tried with."""
    run = judged_run(base)
    run.select(4, outliers=0.01)
    run.score(base / "bad")
    run.evaluate(base / "good", {"bad": base / "bad"})
    (base / "given.csv").write_text(f"id,label\n{run.embeddings.ids[0]},a\n")
    run.import_labels(base / "given.csv", classes=["a"])
    run.export(base / "model.onnx")
    detector = write_persons(base)
    people = winnow.Run(base / "people", people=True, object_detector=str(base / "here" / "yolox.onnx"), **OPTIONS)
    (base / "here").mkdir()
    shutil.copy(detector, base / "here")
    people.ingest(base / "persons")
    people.train()
    people.encode()
    people.calibrate()


def fresh(base: Path) -> Path:
    """Put copies of the runs and files that are spoiled into the folder `here`, always at the same address."""
    here = base / "here"
    shutil.rmtree(here, ignore_errors=True)
    for name in ("run", "people"):
        shutil.copytree(base / name, here / name)
    for name in ("model.onnx", "yolox.onnx"):
        shutil.copy(base / name, here)
    (here / "out").mkdir()
    return here


def tried(base: Path, here: Path, words: str, but: Path) -> tuple[str, str]:
    """Do a command in a process of its own; return what came of it, and a hash of its results or what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LONGEST)
        status, said = "silent", io.StringIO()
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
                _do(base, here, words)
            said = io.StringIO(_digest(here, but))
        except SystemExit:
            status = "told" if len(said.getvalue().splitlines()) <= 2 else "traceback"
        except BaseException as error:
            status, said = "traceback", io.StringIO(f"{type(error).__name__}: {error}")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > LARGEST:
            status = "memory"
        os.write(writer, json.dumps([status, said.getvalue()[:2000]]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    status, said = json.loads(text) if text else ("hang or crash", "")
    return status, said


def _do(base: Path, here: Path, words: str) -> None:
    if words == "checkpoint":
        from winnow.errors import WinnowError
        from winnow.learn.checkpoint import read_checkpoint

        try:
            tensors, about = read_checkpoint(here / "run" / "model" / "checkpoints" / "last.safetensors")
        except WinnowError as error:
            raise SystemExit(str(error)) from error
        found = hashlib.sha256(repr(sorted((name, value.tolist()) for name, value in tensors.items())).encode())
        (here / "out" / "tensors.csv").write_text(found.hexdigest() + json.dumps(about))
        return
    try:
        command([word.format(base=base, here=here, run=here / "run", out=here / "out") for word in words.split()])
    except SystemExit as end:
        if end.code:
            raise


def _digest(here: Path, but: Path) -> str:
    """Return a hash of all results below a folder, but for the file that was spoiled."""
    digest = hashlib.sha256()
    for path in sorted(here.rglob("*")):
        if path.is_file() and path.suffix in RESULTS and path != but and "/." not in str(path):
            digest.update(path.relative_to(here).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def flip(path: Path, rng: np.random.Generator) -> str:
    """Flip a random bit of a file; return where it is."""
    content = bytearray(path.read_bytes())
    place, bit = int(rng.integers(len(content))), int(rng.integers(8))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place}"


def fuzz(base: Path, kind: str, flips: int, seed: int = 0) -> tuple[Counter[str], list[str]]:
    """Return how often what came of a flipped bit of a kind of artefact, and each case that may not be."""
    rng, found, wrong = np.random.default_rng([seed, *kind.encode()]), Counter[str](), list[str]()
    readers = KINDS[kind]
    expected = {words: tried(base, here := fresh(base), words, here / kind) for words in readers}
    for words, (status, said) in expected.items():
        assert status == "silent", f"{words} fails on whole files: {said}"
    for number in range(flips):
        words, here = readers[number % len(readers)], fresh(base)
        where = flip(here / kind, rng)
        status, said = tried(base, here, words, here / kind)
        if status == "silent" and said == expected[words][1]:
            status = "harmless"
        found[status] += 1
        if status not in ("told", "harmless"):
            wrong.append(f"{kind}, {where}, {words.split()[0]}: {status} {said[:300]}")
    return found, wrong


def main() -> None:
    """Fuzz all kinds, print a line each, and the cases that may not be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=60)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base, total, begun = Path(folder), Counter[str](), time.monotonic()
        make(base)
        for kind in given.kinds:
            found, wrong = fuzz(base, kind, given.flips)
            total += found
            print(f"{kind:42}", dict(found), flush=True)
            print(*wrong, sep="\n", end="\n" if wrong else "", flush=True)
        print(f"{total.total():,} flips in {time.monotonic() - begun:.0f} s:", dict(total))


if __name__ == "__main__":
    main()
