"""Help pages and what is said of calls that do not fit."""

from __future__ import annotations

import re
import shlex

import pytest

from winnow.cli import COMMANDS, GROUPS, application
from winnow.run.recipe import load_recipe, recipe_names
from winnow.stages import STAGES, command_of
from winnow.usage import COMMON, KEPT

from conftest import winnow_command


def page(*words: str) -> str:
    """Return a help page without its frames, each run of spaces one."""
    done = winnow_command(*words, env={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return " ".join(re.sub("[╭╮╰╯│─]", " ", done.stdout).split())


def flags(text: str) -> set[str]:
    """Return the flags that a page describes, not those that its sentences name."""
    lines = winnow_lines(text)
    return {flag for line in lines for flag in re.findall(r"(?<!\S)--?[a-z][a-z0-9-]*", line)}


def winnow_lines(text: str) -> list[str]:
    """Return the first column of each line of a page."""
    return [re.split(r"\s{2,}", line[1:].lstrip(" *"))[0] for line in text.splitlines() if line.startswith("│")]


def test_the_commands_are_listed_in_the_order_of_work():
    shown = page("--help")
    titles = list(GROUPS)
    assert sorted(titles, key=shown.index) == titles
    places = [shown.index(f" {name} {text}") for name, text in COMMANDS.items()]
    assert places == sorted(places)


@pytest.mark.parametrize("command", COMMON)
def test_a_long_command_shows_its_common_flags_and_all_when_asked(command: str):
    env = {"COLUMNS": "200"}
    few = flags(winnow_command(command, "--help", env=env).stdout)
    every = flags(winnow_command(command, "--help-all", env=env).stdout)
    common = {f"--{name}" for name in COMMON[command].split()}
    assert common - {"--n"} <= few < every
    assert len(few) <= 24  # with the --no- of each flag that has one
    assert f"winnow {command} --help-all" in page(command, "--help")
    assert f"winnow {command} --help-all" not in page(command, "--help-all")


def test_every_other_command_is_short_enough_to_be_shown_whole():
    for command in COMMANDS.keys() - COMMON.keys():
        assert len(flags(winnow_command(command, "--help", env={"COLUMNS": "200"}).stdout)) <= 16, command


def test_what_must_be_given_is_marked_and_begins_the_usage():
    for command, usage in {
        "score": "winnow score SOURCES... --run RUN [OPTIONS]",
        "ingest": "winnow ingest SOURCES... --run RUN [OPTIONS]",
        "run": "winnow run RECIPE [SOURCES...] --to RUN [OPTIONS]",
        "label": "winnow label --run RUN [OPTIONS]",
        "doctor": "winnow doctor [OPTIONS]",
        "pull": "winnow pull ADDRESS FOLDER [OPTIONS]",
        "push": "winnow push FOLDER ADDRESS [OPTIONS]",
    }.items():
        assert page(command, "--help").startswith(f"Usage: {usage} ")
    for command in ("ingest", "score", "predict", "watch"):
        assert re.search(r"Arguments \* SOURCES Folders, .*? \[required\]", page(command, "--help"))
        done = winnow_command(command, "--run", "absent")
        assert done.stderr.startswith(f"winnow: winnow {command} needs SOURCES.\n  Add SOURCES: Folders, ")
    assert "SOURCES Folders, pictures" in page("run", "--help") and "left out with --resume" in page("run", "--help")


def test_the_command_that_does_a_step_can_be_given_as_it_is_printed():
    for step in STAGES:
        words = shlex.split(command_of(step, "my runs/one").replace("SOURCES", "good"))
        _, given, _ = application().parse_args(words[1:], exit_on_error=False, print_error=False)
        assert given.arguments["run"] == "my runs/one"


def test_what_the_front_page_names_is_there():
    for words in (["--version"], ["recipes", "--debug"], ["--help-all"], ["-h"], []):
        assert winnow_command(*words).returncode == 0
    assert winnow_command().stdout == winnow_command("--help").stdout


def test_recipes_are_listed_in_the_order_of_the_tasks():
    listed = [line for line in winnow_command("recipes").stdout.splitlines() if not line.startswith(" ")]
    assert listed == recipe_names()
    tasks = [name for name in listed if "-" not in name]
    assert tasks == ["oneclass", "inspect", "select"] and listed[-1].startswith("classify")
    assert listed.index("inspect-vae") < listed.index("select") < listed.index("select-ae")


def test_help_has_the_values_of_the_recipe():
    shown = page("run", "inspect", "--help")
    assert "in pixels [default: 384 384]." in shown
    assert "--scorer 'best(padim, patchcore)'" in shown and "--tiles" in shown
    assert "--iterations" not in shown  # of a network that is not trained
    assert "in pixels [default: 64 64]." in page("run", "--help")
    assert "[default: best(padim, patchcore)]." in page("run", "inspect", "--help-all")
    assert "in pixels [default: 384 384]." in page("ingest", "--recipe", "inspect", "--help")


def test_a_flag_of_a_command_keeps_its_own_default_beside_an_option_of_that_name():
    assert re.search(r"--workers INT Processes that answer \[default: 1\]", page("serve", "--help"))
    assert re.search(r"--workers INT Threads that decode \[default: 0, one a core\]", page("ingest", "--help-all"))


def test_help_says_that_a_run_keeps_its_own_values():
    for command, said in {"score": True, "calibrate": True, "run": False, "ingest": False, "doctor": False}.items():
        assert (KEPT in page(command, "--help")) == said, command


def test_what_is_missing_is_called_as_in_the_usage():
    done = winnow_command("pull", "s3://bucket/run")
    assert done.stderr == "winnow: winnow pull needs FOLDER.\n  Add FOLDER: The folder to make.\n"
    assert "FOLDER --to --run The folder to make." in page("pull", "--help")


def test_every_recipe_has_its_help_page():
    for name in recipe_names():
        shown = page("run", name, "--help-all")
        assert load_recipe(name).title in shown
        assert "(default:" not in shown and "default: False" not in shown and "default: ()" not in shown
        for sentence in re.findall(r"\[default: [^\]]*\].", shown):
            assert sentence.endswith("."), sentence


def test_help_for_a_recipe_that_there_is_not_names_the_nearest():
    done = winnow_command("run", "inspekt", "--help")
    assert done.returncode == 1 and "'inspect'" in done.stderr


def test_a_recipe_is_printed_as_the_file_that_it_is(tmp_path):
    done = winnow_command("recipes", "inspect")
    (tmp_path / "mine.toml").write_text(done.stdout, encoding="utf-8")
    assert load_recipe(str(tmp_path / "mine.toml")) == load_recipe("inspect")
    assert "'inspect'" in winnow_command("recipes", "inspekt").stderr


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--to", "{}"],
        ["encode", "--to", "{}"],
        ["calibrate", "--to", "{}"],
        ["select", "--to", "{}"],
        ["classify", "--to", "{}"],
        ["label", "--to", "{}"],
        ["round", "--to", "{}", "--more", "3"],
        ["step", "a:b", "--to", "{}"],
        ["join", "--run", "{}"],
        ["join", "--to", "{}"],
        ["push", "--run", "{}", "--to", "s3://bucket/run"],
    ],
)
def test_the_run_folder_may_be_given_by_either_name(words: list[str], tmp_path):
    folder = tmp_path / "nothing"
    said = winnow_command(*(word.format(folder) for word in words)).stderr
    assert str(folder) in said and ("is not a run folder" in said or "no shards" in said)


def test_a_run_is_begun_under_either_name(pictures, tmp_path):
    assert winnow_command("ingest", pictures / "clip0", "--to", tmp_path / "run", "--size", 32, 32).returncode == 0
    done = winnow_command("run", "oneclass-from-scratch", pictures, "--run", tmp_path / "run")
    assert "already holds a run" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("score a", "winnow score needs --run.\n  Add --run RUN: The run folder, or its address s3://bucket/run."),
        ("score x --run", "--run was given without a value.\n  The run folder, or its address s3://bucket/run."),
        (
            "run oneclass x",
            "winnow run needs --to.\n  Add --to RUN: The run folder to make, or its address s3://bucket/run.",
        ),
        ("run", "winnow run needs RECIPE.\n  winnow run --help lists what it takes."),
        (
            "train --run a b c",
            "winnow train does not take the words 'b', 'c'.\n  winnow train --help lists what it takes.",
        ),
        ("train --run a b", "winnow train does not take the word 'b'.\n  winnow train --help lists what it takes."),
        (
            "run oneclass x --to y --size 64",
            "--size takes 2 values, and 1 was given.\n  Height and width of the pictures",
        ),
        ("train --run a --lr x", "--lr 'x': input should be a valid number"),
        ("scor", 'Unknown command "scor". Did you mean "score"?\n  winnow --help lists the commands.'),
    ],
)
def test_a_wrong_call_says_what_and_how(words: str, said: str):
    done = winnow_command(*words.split())
    assert done.returncode == 2 and done.stderr.startswith(f"winnow: {said}")
    assert len(done.stderr.splitlines()) == 2
