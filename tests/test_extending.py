"""The page on parts of one's own is true: its files, checks and commands run as they stand, and what it shows comes out."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import winnow
from winnow import plugins
from winnow.errors import OptionError, RunError
from winnow.run.folder import RunFolder
from winnow.stages import STAGES

from conftest import blocks, made_once, stripes, winnow_command, write_pictures

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# (\w+\.(?:py|toml))\n")
SECTIONS = {text.splitlines()[0]: text for text in PAGE.split("\n## ")[1:]}
FILES = {name[1]: text for _, text in BLOCK.findall(PAGE) if (name := FILE.match(text))}
WORDS = ("--size", "32", "32", "--iterations", "20")


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page, pictures `good` and `new`, and a finished run `runs/plain`."""

    def make(folder: Path) -> None:
        write_pictures(folder / "good", 6, 6, partial(stripes, size=32))
        write_pictures(folder / "new", 1, 4, partial(blocks, size=32), seed=1)
        for name, text in FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
        done = winnow_command("run", "oneclass-from-scratch", "good", "--to", "runs/plain", *WORDS, cwd=folder)
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "examples", make)


@pytest.fixture
def here(examples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the examples as the current folder, which is not on `sys.path`, as for the command `winnow`."""
    folder = Path(shutil.copytree(examples, tmp_path / "examples"))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield folder
    for name in [
        name for name, module in sys.modules.items() if str(tmp_path) in (getattr(module, "__file__", "") or "")
    ]:
        del sys.modules[name]


def run_block(kind: str, text: str) -> str:
    """Run the lines of a block, and return what they print."""
    if kind == "python":
        sys.path.append(str(Path.cwd()))
        exec(compile(text, "docs/extending.md", "exec"), {"__name__": "example"})
        return ""
    said = ""
    for line in text.splitlines():
        done = winnow_command(*shlex.split(line)[1:])
        assert done.returncode == 0, f"{line}: {done.stderr}"
        said += done.stdout
    return said


def pattern_of(line: str) -> str:
    """Return the regular expression of a line of the page, in which '...' stands for anything."""
    return r".*".join(map(re.escape, line.split("...")))


@pytest.mark.parametrize("title", SECTIONS)
def test_each_example_does_what_the_page_says(title: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if title == "A package":
        install(here, FILES["pyproject.toml"], monkeypatch)
    found = [(kind, text) for kind, text in BLOCK.findall(SECTIONS[title]) if not FILE.match(text)]
    assert found
    said = ""
    for kind, text in found:
        if kind == "text":
            for line in text.splitlines():
                assert re.search(f"^{pattern_of(line)}$", said, re.MULTILINE), f"{line!r} is not in: {said}"
        else:
            said += run_block(kind, text)


def install(folder: Path, pyproject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make of the files a package that is installed: its modules and its entry points on the path."""
    offered = tomllib.loads(pyproject)["project"]["entry-points"]["winnow.plugins"]
    site, about = folder.parent / "site", folder.parent / "site" / "mine-1.0.dist-info"
    about.mkdir(parents=True)
    for path in folder.glob("*.py"):
        shutil.move(path, site)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in offered.items())
    (about / "entry_points.txt").write_text(f"[winnow.plugins]\n{lines}")
    monkeypatch.syspath_prepend(site)
    assert set(plugins.installed()) == set(offered)


def test_the_examples_stay_short() -> None:
    assert len(FILES) == 7
    long = {
        name: lines
        for name, text in FILES.items()
        if (lines := len(re.findall(r"^(?!#).*\S", text, re.MULTILINE))) >= 25
    }
    assert not long


def test_a_second_process_loads_no_part_that_it_does_not_name(here: Path) -> None:
    done = winnow_command("run", "my_recipe.toml", "good", "--to", "runs/mine")
    assert done.returncode == 0, done.stderr

    def again(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "winnow.cli", *words, "--run", "runs/mine"]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    refused = again("score", "new", "--trust", "my_scorer:Farthest")
    assert refused.returncode == 1 and "If you trust it: --trust my_network:Narrow" in refused.stderr
    done = again("score", "new", "--trust", "my_scorer:Farthest", "--trust", "my_network:Narrow")
    assert done.returncode == 0, done.stderr
    calibrated = (here / "runs" / "mine" / "detector" / "detector.json").read_text()
    for words in (["calibrate"], ["train"]):
        refused = winnow_command(*words, "--run", "runs/mine")
        assert refused.returncode == 1 and "not one of Winnow's" in refused.stderr
    trusting = ("--run", "runs/mine", "--trust", "my_scorer:Farthest", "--trust", "my_network:Narrow")
    assert winnow_command("calibrate", *trusting).returncode == 0
    assert (here / "runs" / "mine" / "detector" / "detector.json").read_text() == calibrated


def test_a_recipe_counts_as_named_where_a_run_is_gone_on_with(here: Path) -> None:
    words = ("run", "my_recipe.toml", "good", "--to", "runs/mine")
    assert winnow_command(*words).returncode == 0
    shutil.rmtree(here / "runs" / "mine" / "embeddings")
    done = winnow_command(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert winnow.Run("runs/mine", recipe="my_recipe.toml").calibrate().full.scorer == "my_scorer:Farthest(power=2)"
    (here / "my_recipe.toml").write_text(FILES["my_recipe.toml"].replace("my_network:Narrow", "autoencoder"))
    run = RunFolder.begun("runs/mine", "my_recipe.toml")  # the file does not name the network any more
    assert "my_network:Narrow" not in run.trusted and "my_scorer:Farthest(power=2)" in run.trusted


def test_a_network_of_ones_own_goes_on_where_it_was_stopped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "my_stopped.py").write_text(
        "from my_network import Narrow\n\n\n"
        "class Stopped(Narrow):\n    left = 1000\n\n"
        "    def forward(self, images, decode=True, noise=None):\n"
        "        type(self).left -= self.training\n"
        "        if self.left < 0:\n            raise KeyboardInterrupt\n"
        "        return super().forward(images, decode, noise)\n"
    )
    monkeypatch.setattr("winnow.learn.train.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("winnow.learn.train.Trainer.save_is_due", lambda self: True)
    words = ("--model", "my_stopped:Stopped", "--iterations", "30", "--check-every", "10")
    for name in ("whole", "parts"):
        winnow_command("ingest", "good", "--run", f"runs/{name}", "--size", "32", "32")
    assert winnow_command("train", "--run", "runs/whole", *words).returncode == 0
    network = plugins.load("my_stopped:Stopped", "model")
    network.left = 17
    assert winnow_command("train", "--run", "runs/parts", *words).returncode == 130
    assert not (here / "runs" / "parts" / "model").exists()
    network.left = 14  # 30 steps less those of before
    done = winnow_command("train", "--run", "runs/parts", *words, "--resume")
    assert done.returncode == 0, done.stderr
    weights = [here / "runs" / name / "model" / "model.safetensors" for name in ("whole", "parts")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


STEP = """
from my_steps import Softest, list_softest
from winnow.stages import Stage

def stop(run, *, resume=False):
    with run.working("softest") as step:
        step.path("softest.txt").write_text("half")
        raise RuntimeError("stopped")

def returns_nothing(run, *, resume=False):
    list_softest(run)

class Plain:
    step = "softest"

def stage(name="softest", function="my_steps:list_softest", result=Softest, needs="encode", places=("softest.txt",)):
    return Stage(name, function, result, needs, places)

STOP = stage(function="my_other:stop")
NOTHING = stage(function="my_other:returns_nothing")
ABSENT = stage(function="my_absent:work")
TRAIN = stage(name="train")
LOCK = stage(name="run")
SLASH = stage(name="../softest")
NEEDS = stage(needs="softer")
OURS = stage(places=("labels.sqlite",))
MODEL = stage(places=("model/softest.txt",))
OUTSIDE = stage(places=("../softest.txt",))
ROOT = stage(places=("/tmp/softest.txt",))
HIDDEN = stage(places=(".staging/softest.txt",))
CLASS = stage(result=Plain)
OTHER = stage(name="harder")
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train", ["'train' is a step of Winnow's", "winnow train --run RUN"]),
        ("weight", ["'weight' is a step of Winnow's", "winnow lambda --run RUN"]),
        ("softest", ["There is no step 'softest'", "Your own is 'module:name'"]),
        ("my_absent:STEP", ["cannot be imported", "No module named 'my_absent'"]),
        ("my_steps:ABSENT", ["has no 'ABSENT'"]),
        ("my_steps:Softest", ["'my_steps:Softest' is not a step", "winnow.stages.Stage"]),
        ("my_other:ABSENT", ["The step 'my_absent:work' cannot be imported"]),
        ("my_other:NOTHING", ["returned NoneType, not Softest", "return run.result(Softest)"]),
        ("my_other:TRAIN", ["Winnow has a step 'train' itself"]),
        ("my_other:LOCK", ["Winnow has a step 'run' itself"]),
        ("my_other:SLASH", ["a step cannot be called '../softest'"]),
        ("my_other:NEEDS", ["needs 'softer', which is no step of Winnow's", "encode"]),
        ("my_other:OURS", ["cannot write 'labels.sqlite'"]),
        ("my_other:MODEL", ["cannot write 'model/softest.txt'"]),
        ("my_other:OUTSIDE", ["cannot write '../softest.txt'"]),
        ("my_other:ROOT", ["cannot write '/tmp/softest.txt'"]),
        ("my_other:HIDDEN", ["cannot write '.staging/softest.txt'"]),
        ("my_other:CLASS", ["is not a dataclass for the results of 'softest'"]),
        ("my_other:OTHER", ["is not a dataclass for the results of 'harder'"]),
    ],
)
def test_a_step_that_cannot_be_one_is_a_sentence(name: str, words: list[str], here: Path) -> None:
    (here / "my_other.py").write_text(STEP)
    before = dict(STAGES)
    done = winnow_command("step", name, "--run", "runs/plain")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    for part in words:
        assert part in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert before == STAGES


def test_a_step_of_ones_own_has_the_guarantees_of_ours(here: Path) -> None:
    (here / "my_other.py").write_text(STEP)
    run = winnow.Run("runs/plain")
    run.step("my_steps:SOFTEST")
    path, record = here / "runs" / "plain" / "softest.txt", here / "runs" / "plain" / "steps" / "softest.json"
    before = path.read_text(), record.read_text()
    with pytest.raises(RuntimeError, match="stopped"):
        run.step("my_other:STOP")
    assert (path.read_text(), record.read_text()) == before
    run.step("my_steps:SOFTEST", resume=True)
    assert record.read_text() == before[1]  # it was left as it is
    path.write_text("spoilt")
    run.step("my_steps:SOFTEST", resume=True)
    assert path.read_text() == before[0]
    assert "softest" not in STAGES
    winnow_command("train", "--run", "runs/plain", "--iterations", "10")
    with pytest.raises(RunError, match="'encode' wrote is older"):
        winnow.Run("runs/plain").step("my_steps:SOFTEST", resume=True)


def test_two_processes_do_not_do_the_same_step_at_once(here: Path) -> None:
    from winnow.run.commit import locked

    staging = here / "runs" / "plain" / ".staging"
    staging.mkdir(exist_ok=True)
    with locked(staging / "softest.lock", "softest"):
        done = winnow_command("step", "my_steps:SOFTEST", "--run", "runs/plain")
    assert done.returncode == 1 and "The step 'softest' of runs/plain is at work" in done.stderr


def test_a_step_of_ones_own_killed_in_its_commit_disturbs_no_other_command(here: Path) -> None:
    assert winnow_command("step", "my_steps:SOFTEST", "--run", "runs/plain").returncode == 0
    run = here / "runs" / "plain"
    moving = run / ".staging" / "softest" / "moving"  # as it is after the old record and file were moved away
    (moving / "steps").mkdir(parents=True)
    text = (run / "softest.txt").read_text()
    shutil.move(run / "softest.txt", moving)
    shutil.move(run / "steps" / "softest.json", moving / "steps")
    assert winnow_command("score", "new", "--run", "runs/plain").returncode == 0
    done = winnow_command("step", "my_steps:SOFTEST", "--run", "runs/plain", "--resume")
    assert done.returncode == 0, done.stderr
    assert (run / "softest.txt").read_text() == text and not moving.exists()


def test_in_python_parts_are_trusted_by_an_argument(here: Path) -> None:
    run = winnow.Run("runs/mine", recipe="my_recipe.toml").fit("good")
    assert run.score("new").pictures == 4
    with pytest.raises(OptionError, match="--method my_selector:sharpest"):
        winnow.Run("runs/mine", trust=["my_network:Narrow", "my_scorer:Farthest"]).select(6)
    trust = ["my_network:Narrow", "my_scorer:Farthest", "my_selector:sharpest"]
    assert winnow.Run("runs/mine", trust=trust).select(6).chosen == 6
