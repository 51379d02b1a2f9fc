"""The table of wrong options: places, recipes, values and calls that have no meaning, and what the sentence must say."""

from __future__ import annotations

from itertools import product

from spoiling import Misuse, foreign_onnx, making, picture_and_text, writing


class _Short(dict):
    """Names the places of a command shortly, for the names of the tests."""

    def __missing__(self, key: str) -> str:
        return key.upper()


PLACES = [  # a folder where a file should be, a file where a folder should be, for every option that is a path
    Misuse(words.format_map(_Short()), words, says, picture_and_text)
    for words, says in [
        # --run
        ("ingest {bad} --run {picture}", r"picture\.png"),
        ("train --run {picture}", r"picture\.png"),
        ("score {bad} --run {picture}", r"picture\.png"),
        ("label --run {picture} --export {out}/labels.csv", r"picture\.png"),
        ("lambda {good} --run {picture}", r"picture\.png"),
        ("ingest {bad} --run {picture}/run", r"picture\.png"),
        ("train --run {picture}/run", r"picture\.png"),
        ("score {bad} --run {picture}/run", r"picture\.png"),
        ("train --run {here}/pictures", "pictures is not a run"),
        ("score {bad} --run {here}/pictures", "pictures is not a run"),
        ("select --run {here}/pictures -n 8", "pictures is not a run"),
        ("report --run {here}/pictures", "pictures is not a run"),
        ("label --run {here}/pictures --classes a", "pictures is not a run"),
        ("ingest {bad} --run {here}/pictures", "pictures is not empty"),
        ("score {bad} --run {none}", "here/none"),
        ("score {bad} --run {long}", "nnnn"),
        ("ingest {bad} --run {long}", "nnnn"),
        # --to of run
        ("run {tiny} {good} --to {picture}", r"picture\.png"),
        ("run {tiny} {good} --to {picture}/run", r"picture\.png"),
        ("run {tiny} {good} --to {picture} --overwrite", r"picture\.png"),
        ("run {tiny} {good} --to {here}/pictures", "pictures is not empty"),
        ("run {tiny} {good} --to {here}/pictures --overwrite", "pictures is not empty"),
        ("run {tiny} {good} --to {long}", "nnnn"),
        ("run {tiny} {good} --to {run}", "--resume"),
        ("run {tiny} {good} --to {run} --overwrite", "label"),
        # --to of the others
        ("score {bad} --run {run} --to {picture}", r"picture\.png"),
        ("score {bad} --run {run} --to {picture}/out", r"picture\.png"),
        ("score {bad} --run {run} --to {long}", "nnnn"),
        ("predict {bad} --run {run} --to {picture}", r"picture\.png"),
        ("predict {bad} --run {run} --to {picture}/out", r"picture\.png"),
        ("predict {bad} --run {run} --to {long}", "nnnn"),
        ("evaluate --run {run} --normal {good} --anomalous b={bad} --to {picture}", r"picture\.png"),
        ("evaluate --run {run} --normal {good} --anomalous b={bad} --to {picture}/out", r"picture\.png"),
        ("evaluate --run {run} --normal {good} --anomalous b={bad} --to {long}", "nnnn"),
        ("export --run {run} --to {picture}", r"picture\.png"),
        ("export --run {run} --to {picture}/model.onnx", r"picture\.png"),
        ("export --run {run} --to {here}", "--to"),
        ("export --run {run} --to {here}/model.pt", r"model\.pt"),
        ("export --run {run} --to {long}.onnx", "nnnn"),
        # --heatmaps, --masks, --defects
        ("score {bad} --run {run} --to {out} --heatmaps {out}/h", "--heatmaps"),
        ("score {bad} --run {patched} --to {out} --heatmaps {picture}", r"picture\.png"),
        ("score {bad} --run {patched} --to {out} --heatmaps {picture}/h", r"picture\.png"),
        ("evaluate --run {run} --normal {good} --anomalous b={bad} --to {out} --masks {bad}", "--masks"),
        ("evaluate --run {patched} --normal {good} --anomalous b={bad} --to {out} --masks {picture}", r"picture\.png"),
        ("evaluate --run {patched} --normal {good} --anomalous b={bad} --to {out} --masks {none}", "here/none"),
        ("evaluate --run {patched} --normal {good} --anomalous b={bad} --to {out} --masks {here}", "no mask"),
        ("lambda --run {patched} --masks {bad}", "--masks|--defects|variational|VAE"),
        ("lambda --run {patched} --defects {none}", "here/none|--defects|variational|VAE"),
        # --weights, --object-detector, --onnx
        *(
            (f"{words} {{{place}}}", says)
            for words, (place, says) in product(
                [
                    "run {tiny} {good} --to {new} --model pretrained --weights",
                    "train --run {run} --model pretrained --weights",
                    "classify --run {run} --fine-tune mobilenet_v2 --fine-tune-weights",
                    "run {tiny} {good} --to {new} --people --object-detector",
                    "predict {bad} --to {out} --onnx",
                ],
                [("none", "here/none"), ("good", "/good"), ("text", "notes"), ("picture", r"picture\.png")],
            )
        ),
        ("run {tiny} {good} --to {new} --people", "detector"),
        # labels
        *(
            (f"{words} {{{place}}}", says)
            for words, (place, says) in product(
                [
                    "label --run {run} --import",
                    "classify --run {run} --labels",
                    "select --run {run} -n 8 --also",
                    "round --run {run} --more 2 --also",
                ],
                [("none", "here/none"), ("text", "notes"), ("picture", r"picture\.png")],
            )
        ),
        ("label --run {run} --export {here} --format csv", "/here"),
        ("label --run {run} --export {here} --format imagefolder", "here is not empty"),
        ("label --run {run} --export {picture} --format imagefolder", r"picture\.png"),
        ("label --run {run} --export {picture}/labels.csv", r"picture\.png"),
        ("label --run {run} --export {out}/labels.xls", r"labels\.xls"),
        ("label --run {run} --export {out}/labels.json", "--format"),
        ("label --run {run} --export {long}.csv", "nnnn"),
        # the rest
        ("train --run {run} --background {none}", "here/none"),
        ("train --run {run} --background {text}", "notes"),
        ("run {none} {good} --to {new}", "here/none"),
        ("run {text} {good} --to {new}", "notes"),
        ("run {picture} {good} --to {new}", r"picture\.png"),
        ("run {good} {good} --to {new}", "/good"),
    ]
] + [
    Misuse(
        "predict --onnx of another program",
        "predict {bad} --to {out} --onnx {here}/other.onnx",
        r"other\.onnx",
        foreign_onnx,
    ),
    Misuse(
        "--object-detector of nothing",
        "run {tiny} {good} --to {new} --people --object-detector {here}/other.onnx",
        r"other\.onnx",
        foreign_onnx,
    ),
]

IMPORTS = [
    Misuse(
        f"label --import {what}",
        "label --run {run} --import {here}/" + name,
        name.replace(".", r"\."),
        writing(name, text),
    )
    for what, name, text in [
        ("an empty table", "e.csv", ""),
        ("a table without a label", "e.csv", "id,name\n1,a\n"),
        ("a table with zero bytes", "e.csv", "id,label\n\0,a\n"),
        ("a table not in UTF-8", "e.csv", b"id,label\n\xff,a\n"),
        ("a number", "e.json", "7"),
        ("broken JSON", "e.json", "[{"),
        ("deep JSON", "e.json", "[" * 100_000),
        ("tasks that are numbers", "e.json", "[1, 2]"),
        ("COCO without its pictures", "e.json", '{"images": [], "annotations": [{"id": 1}], "categories": []}'),
    ]
]

RECIPES = [
    Misuse(f"recipe {what}", "run {here}/own.toml {good} --to {new}", says, writing("own.toml", text))
    for what, says, text in [
        ("with an unknown section", "trian", "[trian]\niterations = 3\n"),
        ("with an unknown option", "iteration", "[train]\niteration = 3\n"),
        ("with an option outside a section", "iterations", "iterations = 3\n"),
        ("with a wrong type", "iterations", '[train]\niterations = "many"\n'),
        ("with not-a-number", "free.bits", "[train]\nfree_bits = nan\n"),
        ("that is broken", r"own\.toml", "[train\n"),
        ("that is not UTF-8", r"own\.toml", b'title = "\xff"\n'),
        ("that is a picture by another name", r"own\.toml", b"\x89PNG\r\n\x1a\n\0\0"),
        ("with a list of sections", "train", "[[train]]\niterations = 3\n"),
    ]
] + [
    Misuse("recipe that is a folder", "run {here}/own.toml {good} --to {new}", r"own\.toml", making("own.toml")),
    Misuse("recipe without a name", "run '' {good} --to {new}", "recipe"),
    Misuse("recipe with a typo", "run inspektion {good} --to {new}", "inspect"),
    Misuse("recipe with a line break", "run 'in\nspect' {good} --to {new}", "recipe"),
]

WRONG = [  # what `winnow run` is given, and what the sentence must name
    ("--size 0 0", "size"), ("--size 32", "size"), ("--size 100000 100000", "size"), ("--size -5 5", "size"), ("--size a b", "size"),
    ("--latent 0", "latent"), ("--latent -1", "latent"), ("--latent many", "latent"), ("--width 0", "width"),
    ("--iterations 0", "iterations"), ("--iterations 1.5", "iterations"), ("--iterations nan", "iterations"), ("--every 0", "every"),
    ("--every -1", "every"), ("--every nan", "every"), ("--every inf", "every"), ("--latent-weight nan", "latent-weight"),
    ("--free-bits inf", "free-bits"), ("--false-alarm-rate 0", "false-alarm-rate"), ("--false-alarm-rate 1", "false-alarm-rate"),
    ("--false-alarm-rate nan", "false-alarm-rate"), ("--false-alarm-rate 5%", "false-alarm-rate"),
    ("--validate-share 0.9", "validate-share"), ("--check-every 0", "check-every"), ("--patience -1", "patience"),
    ("--seed -1", "seed"), ("--seed 1e3", "seed"), ("--seed 99999999999999999999999", "seed"), ("--precision float8", "precision"),
    ("--device gpu0", "gpu0"), ("--device ''", "device"), ("--device cuda:99", "cuda"), ("--device meta", "meta"),
    ("--architecture deep", "architecture"), ("--model autoencodr", "autoencoder"), ("--model nosuch:Model", "nosuch"),
    ("--model json:nosuch", "nosuch"), ("--model json:dumps", "json:dumps"), ("--model :", "model"), ("--model ''", "model"),
    ("--scorer neighbors", "neighbo"), ("--scorer nosuch:Scorer", "nosuch"), ("--scorer ''", "scorer"), ("--method hearding", "herding"),
    ("--method nosuch:f", "nosuch"), ("--number -1", "number"), ("--per-group -1", "per-group"), ("--random-share 1", "random-share"),
    ("--head svm", "head"), ("--folds 99", "folds"), ("--rounds 0", "rounds"), ("--stride -1", "stride"), ("--white 0", "white"),
    ("--pixel-limit nan", "pixel-limit"), ("--pixel-limit 0.0001", "million"), ("--max-refused 2", "max-refused"),
    ("--workers -1", "workers"),
    ("--on-error ask", "on-error"), ("--patches --size 64 64", "64x64"), ("--people --box-confidence 1", "confidence"),
    ("--model pretrained --backbone nosuchnet", "nosuchnet"), ("--model pretrained --backbone ''", "backbone"),
    ("--model pretrained --fast 5", "fast|weights"), ("--validate-share 0.4 --calibrate-share 0.6", "validate-share.*calibrate-share"),
    ("--iteration 3", "iterations"), ("--no-such-option", "no-such-option"),
    ("--size", "size"), ("--background nofolder", "nofolder"), ("--architecture football --size 8 8", "size|8x8|football"),
    ("--fine-tune nosuchnet", "nosuchnet"),
]  # fmt: skip
VALUES = [Misuse(f"run {given}", "run {tiny} {good} --to {new} " + given, says) for given, says in WRONG]

CALLS = [
    Misuse(words[:100], words, says)
    for words, says in [
        ("train --run {run} --device gpu0", "gpu0"),
        ("train --run {run} --model autoencodr", "autoencoder"),
        ("train --run {run} --lr nan", "--lr"),
        ("train --run {run} --background nofolder", "nofolder"),
        ("train --run {run} --background ''", "it is empty"),
        ("calibrate --run {run} --scorer neighbors", "neighbo"),
        ("calibrate --run {run} --false-alarm-rate inf", "false-alarm-rate"),
        ("select --run {run} --method hearding", "herding"),
        ("select --run {run} -n 0", "-n"),
        ("select --run {run} -n many", "-n"),
        ("select --run {run} -n 8 --outliers nan", "outliers"),
        ("round --run {run}", "--more"),
        ("round --run {run} --more 0", "--more"),
        ("classify --run {run} --head svm", "head"),
        ("classify --run {run} --fine-tune nosuchnet", "nosuchnet"),
        ("classify --run {run} --fine-tune mobilenet_v2 --fine-tune-iterations 0", "fine-tune-iterations"),
        ("ingest {good} --run {run} --every 7", "every"),
        ("ingest {good} --run {run} --size 48 48", "size|48"),
        ("ingest {good} --run {run} --grey", "grey"),
        ("ingest {good} --run {run} --recipe inspektion", "recipe|inspect"),
        ("ingest --run {run}", "SOURCES"),
        ("score --run {run}", "SOURCES"),
        ("score {bad}", "--run"),
        ("score {bad} --run {run} --to {out} --mode fast", "fast"),
        ("score {bad} --run {run} --to {out} --mode guess", "mode"),
        ("score {bad} --run {run} --to {out} --smooth -1", "smooth"),
        ("score {bad} --run {run} --to {out} --hysteresis 0.5", "hysteresis"),
        ("evaluate --run {run} --normal {good} --anomalous {bad} --to {out}", "NAME=SOURCE"),
        ("evaluate --run {run} --normal {good} --anomalous ={bad} --to {out}", "NAME=SOURCE"),
        ("evaluate --run {run} --normal {good} --anomalous all={bad} --to {out}", "all"),
        ("evaluate --run {run} --normal {good} --anomalous b=nofolder --to {out}", "nofolder"),
        ("evaluate --run {run} --normal nofolder --anomalous b={bad} --to {out}", "nofolder"),
        ("evaluate --run {run} --anomalous b={bad}", "--normal"),
        ("predict {bad}", "--run and --onnx"),
        ("predict {bad} --run {run} --object-detector x.onnx", "--object-detector"),
        ("predict {bad} --run {run} --onnx x.onnx", "--run and --onnx"),
        ("export --run {run} --only model", "only"),
        ("label --run {run} --port 70000", "port"),
        ("label --run {run} --port http", "port"),
        ("label --run {run} --import {bad} --format xls", "format"),
        ("label --run {run} --import {bad} --classes " + 5000 * "n", "class|name"),
        ("lambda --run {run} --lambdas -1", "lambdas|VAE|variational"),
        ("lambda --run {run} --lambdas nan", "lambdas|VAE|variational"),
        ("lambda --run {run} --lambdas heavy", "lambdas"),
        ("lambda --run {run} --iterations 0", "iterations"),
        ("scor {bad} --run {run}", "score"),
        ("score {bad} --run {run} --too {out}", "--to"),
    ]
]
