"""What the repository ships: configurations that load and build, and documents whose commands exist."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from torch import nn

from recipes import asr, classify, lm, tts
from recipes.__main__ import RECIPES, make_parser
from recipes.asr.config import ASRRecipe
from recipes.asr.pretrained import with_pretrained
from recipes.classify.config import ClassifyRecipe
from recipes.context import RecipeConfig
from recipes.lm.config import LMRecipe
from recipes.tts.config import TTSRecipe
from s4speech.cli.main import app
from s4speech.config import load_config
from s4speech.config.files import merge, read_yaml
from s4speech.config.tts import AutoregressiveConfig
from s4speech.models.asr.build import build_asr
from s4speech.models.classify import build_classifier
from s4speech.models.lm import LanguageModel
from s4speech.models.tts.aligner import Aligner
from s4speech.models.tts.autoregressive import AutoregressiveModel
from s4speech.models.tts.parallel import ParallelModel
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.text.characters import Speller
from s4speech.text.phonemes import SYMBOLS
from tests.conftest import REPOSITORY, Experiment, run_command

OURS = ("make", "s4speech")
RECIPE_FILES = sorted(REPOSITORY.glob("egs/*/*/*.yaml"))
PRESETS = sorted(REPOSITORY.glob("conf/**/*.yaml"))
SCRIPTS = sorted(REPOSITORY.glob("egs/*/*/run.sh"))
DOCUMENTS = [
    REPOSITORY / "README.md",
    *(path.parent / "README.md" for path in SCRIPTS),
    *sorted(REPOSITORY.glob("docs/*.md")),
    REPOSITORY / "CONTRIBUTING.md",
]


CONFIGS: dict[str, type[RecipeConfig]] = {
    "asr": ASRRecipe,
    "classify": ClassifyRecipe,
    "lm": LMRecipe,
    "tts": TTSRecipe,
    "vocoder": TTSRecipe,
}
FULL_SIZE_MILLIONS = {
    "egs/librispeech/asr/recipe.yaml": 113.2,  # Miyazaki et al. 2023
    "egs/librispeech/asr/streaming.yaml": 116.5,
    "egs/librispeech/asr/recipe_100h.yaml": 30.4,
    "egs/csj/asr/recipe.yaml": 110.6,  # at 3300 characters
    "egs/librispeech/lm/transformer.yaml": 55.6,
    "egs/librispeech/lm/s4.yaml": 55.4,
    "egs/ljspeech/tts/recipe.yaml": 25.0,  # aligner, acoustic model and vocoder
}


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def recipe_of(path: Path) -> str:
    """The recipe that the script in the folder of `path` runs."""
    [found] = re.findall(r"^run_recipe (\w+)$", path.with_name("run.sh").read_text(), re.MULTILINE)
    return str(found)


def default_of(script: Path) -> str:
    """The YAML that a script runs when it is not told."""
    [*told] = re.findall(r"^default=(.+)$", script.read_text(), re.MULTILINE)
    return str(told[0]) if told else "recipe.yaml"


def stages(config: RecipeConfig) -> set[str]:
    """The names of the stages that a recipe has."""
    match config:
        case ASRRecipe():
            return {one.name for one in asr.stages_of(with_pretrained(config, dry_run=True))}
        case ClassifyRecipe():
            return {one.name for one in classify.STAGES}
        case TTSRecipe():
            return {one.name for one in tts.STAGES}
        case _:
            return {one.name for one in lm.STAGES}


def parameters(path: Path) -> int:
    """Of the model of a recipe."""
    config = load_config(CONFIGS[recipe_of(path)], path)
    match config:
        case ASRRecipe():
            config = with_pretrained(config, dry_run=True)
            size = config.tokenizer.vocab_size or 3300  # of characters: as many as the texts have
            model: nn.Module = build_asr(config.model.model_copy(update={"vocab_size": size}))
        case ClassifyRecipe():
            task = config.task
            vocab_size = None if task.type == "speech_commands" else 16
            model = build_classifier(config.model, 10, vocab_size, task.type in ("copy", "delay"))
        case TTSRecipe():
            model = voice(config)
        case LMRecipe() if config.model.type == "ngram":
            return 0  # it is counted
        case LMRecipe():
            # its tokenizer is not shipped
            model = LanguageModel(config.model.model_copy(update={"vocab_size": 5000}))
    return sum(p.numel() for p in model.parameters())


def voice(config: TTSRecipe) -> nn.Module:
    """What a synthesis recipe trains."""
    symbols = len(SYMBOLS if config.text.unit == "phonemes" else Speller.symbols)
    speakers = len(config.corpus.voices)
    acoustic: nn.Module
    if isinstance(config.model, AutoregressiveConfig):
        acoustic = AutoregressiveModel(symbols, config.mel, config.model, speakers)
    else:
        acoustic = ParallelModel(symbols, config.mel, config.model, speakers)
    aligner = Aligner(symbols, config.mel.n_mels, config.aligner, speakers, n_quiet=1)
    return nn.ModuleList([aligner, acoustic, Vocoder(config.mel, config.vocoder)])


def test_the_recipes_are_there() -> None:
    assert {name(path) for path in RECIPE_FILES} >= {
        "egs/mini/asr/recipe.yaml",
        "egs/librispeech/asr/recipe.yaml",
        "egs/librispeech/asr/mini.yaml",
        "egs/librispeech/asr/streaming.yaml",
        "egs/librispeech/asr/streaming_mini.yaml",
        "egs/librispeech/lm/mini.yaml",
        "egs/speech_commands/classify/recipe.yaml",
        "egs/sequential/listops/recipe.yaml",
        "egs/kathleen/tts/recipe.yaml",
        "egs/kathleen/tts/two_voices.yaml",
        "egs/ljspeech/tts/recipe.yaml",
    }
    assert {path.parent for path in SCRIPTS} == {path.parent for path in RECIPE_FILES}
    assert all(script.with_name(default_of(script)).is_file() for script in SCRIPTS)
    # the vocoder's is a part of the synthesis recipe
    assert {*(recipe_of(path) for path in RECIPE_FILES), "vocoder"} == set(RECIPES) == set(CONFIGS)


@pytest.mark.parametrize("path", RECIPE_FILES, ids=name)
def test_a_recipe_loads_and_its_model_builds(path: Path) -> None:
    millions = parameters(path) / 1e6
    if name(path) in FULL_SIZE_MILLIONS:
        assert millions == pytest.approx(FULL_SIZE_MILLIONS[name(path)], rel=0.01)
    else:
        assert millions < 20  # trained on a CPU


def test_the_compared_models_of_listops_are_of_one_size() -> None:
    folder = REPOSITORY / "egs/sequential/listops"
    ours, theirs = (parameters(folder / f"mini_{kind}.yaml") for kind in ("s4d", "transformer"))
    assert ours == pytest.approx(theirs, rel=0.05)


def test_every_recipe_has_its_own_place() -> None:
    # one that extends another and names no place goes on in that one's
    own = [path for path in RECIPE_FILES if re.search("^exp_dir:", path.read_text(), re.MULTILINE)]
    places = {path: load_config(CONFIGS[recipe_of(path)], path).exp_dir for path in own}
    assert all("extends:" in path.read_text() for path in RECIPE_FILES if path not in own)
    assert len(set(places.values())) == len(places)
    assert all(place.startswith("exp/") for place in places.values())


@pytest.mark.parametrize("path", PRESETS, ids=name)
def test_a_preset_has_known_keys_and_is_used(path: Path) -> None:
    users = [recipe for recipe in RECIPE_FILES if f"../{name(path)}" in recipe.read_text()]
    assert users
    for recipe in users:  # recipe_of: the folder of a preset is named as its recipe
        assert recipe_of(recipe) == path.parent.name
        data = merge(read_yaml(recipe), read_yaml(path))
        assert CONFIGS[path.parent.name].model_validate_json(json.dumps(data))


def commands(path: Path) -> list[list[str]]:
    """The commands of a document: of its code blocks without a language (or sh), and between back-quotes."""
    text = path.read_text(encoding="utf-8")  # a missing document is an error here
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [
        line for language, block in blocks if language in ("", "sh", "bash") for line in block.splitlines()
    ]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in lines:
        if re.search(r" \[(-|key=)", line):  # a usage line: take the optional words too
            line = line.replace("[", "").replace("]", "")
        try:
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        except ValueError:  # an apostrophe: prose
            continue
        found += [one for one in pipeline(words) if one[0] in OURS or one[0].endswith((".sh", "python"))]
    return found


def pipeline(words: list[str]) -> list[list[str]]:
    """The commands of a pipeline, without VARIABLE=value in front of them."""
    found: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            found.append([])
        elif found[-1] or not re.fullmatch(r"[A-Z_]+=\S*", word):
            found[-1].append(word)
    return [one for one in found if one]


ALL = [(path, words) for path in DOCUMENTS if path.exists() for words in commands(path)]


@pytest.mark.parametrize("path", DOCUMENTS[: 1 + len(SCRIPTS)], ids=name)
def test_a_document_is_there_and_shows_a_command(path: Path) -> None:
    assert path.exists(), f"{name(path)} is not written yet"
    assert commands(path), f"{name(path)} shows no command"


@pytest.mark.parametrize(("path", "words"), ALL, ids=[f"{name(p)}: {shlex.join(w)[:60]}" for p, w in ALL])
def test_a_command_in_a_document_exists(path: Path, words: list[str]) -> None:
    check(words)


@pytest.mark.parametrize(
    "line",
    [
        "make nothing",
        "s4speech sing x",
        "s4speech transcribe x --loud",
        "s4speech bench nothing x",
        "s4speech bench stream x --stremas 8",
        "s4speech bench --streams 8",
        "python -m recipes asr egs/none/asr/recipe.yaml",
        "python -m recipes asr egs/mini/asr/recipe.yaml train.momentum=1",
        "python -m recipes asr egs/mini/asr/recipe.yaml --stage bake",
        "python -m recipes asr egs/librispeech/asr/mini.yaml --stage longform",
        "python -m recipes classify egs/sequential/copy/mini_s4d.yaml task.gab=9",
        "python -m recipes classify egs/mini/asr/recipe.yaml",
        "egs/sequential/copy/run.sh --stage decode",
        "python tools/none.py",
        "egs/mini/asr/walk.sh",
        "egs/librispeech/asr/run.sh --config none.yaml",
        "egs/librispeech/asr/run.sh corpus.rot=x",
        "egs/librispeech/lm/run.sh --stage evaluat",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    with pytest.raises((AssertionError, SystemExit, ValueError)):
        check(shlex.split(line))


def check(words: list[str]) -> None:
    """Raise unless what a command names is there: targets, files, options, stages, keys."""
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets), rest
    elif program == "s4speech":
        check_s4speech(rest)
    elif program.endswith(".sh"):
        script = REPOSITORY / program
        assert script.is_file() and os.access(script, os.X_OK), program
        config = default_of(script)
        if "--config" in rest:
            at = rest.index("--config")
            config = rest[at + 1]
            rest = rest[:at] + rest[at + 2 :]
        # a file of the caller's, or one that lies beside the script
        place = REPOSITORY / config if (REPOSITORY / config).is_file() else script.parent / config
        check_recipe([recipe_of(script), str(place), *rest])
    elif rest[:2] == ["-m", "recipes"]:
        check_recipe(rest[2:])
    elif rest[:2] == ["-m", "s4speech"]:
        check_s4speech(rest[2:])
    elif rest and rest[0].endswith(".py"):
        assert (REPOSITORY / rest[0]).is_file(), rest[0]


def check_s4speech(words: list[str]) -> None:
    if not words or words[0].isupper():  # the command as such, or a place-holder
        return
    if words[0].startswith("-"):
        assert words[0] in ("-h", "--help", "--version", "--debug")
        return
    parser = typer.main.get_command(app)
    while words and hasattr(parser, "commands"):  # a group: `bench stream`
        assert words[0] in parser.commands, words[0]
        parser, words = parser.commands[words[0]], words[1:]
    options = {option for parameter in parser.params for option in parameter.opts}
    known = {one.replace("-", "_") for one in options | {"-h", "--help", "--debug"}}
    for word in words:
        if word.startswith("-") and word != "-":
            assert word.split("=")[0].replace("-", "_") in known, word


def check_recipe(words: list[str]) -> None:
    if not words or not set(words) - {"RECIPE", "CONFIG.yaml", "..."}:
        return
    options = make_parser().parse_intermixed_args(words)
    assert options.recipe in RECIPES
    assert (REPOSITORY / options.config).is_file(), options.config
    shown = [one for one in options.overrides if one not in ("key=value", "...")]
    # raises ValueError: an unknown key
    config = load_config(CONFIGS[options.recipe], REPOSITORY / options.config, shown)
    assert {options.stage, options.stop_stage} <= {*stages(config), "NAME", None}


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_a_script_has_no_error_and_passes_its_options_on(script: Path, tmp_path: Path) -> None:
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    # A repository in which "python" tells what it was called with.
    copy = tmp_path / script.relative_to(REPOSITORY)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(script.read_bytes())
    (tmp_path / "egs" / "run.sh").write_bytes((REPOSITORY / "egs" / "run.sh").read_bytes())
    config = copy.with_name("other.yaml")
    config.write_text("")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; print(sys.argv[1:])" "$@"\n')
    python.chmod(0o755)
    given = ["--stage", "train", "--stop-stage", "score", "train.lr=1", "package.data=two words"]
    for options, expected in (
        ([], default_of(script)),
        (["--config", "other.yaml"], "other.yaml"),
        (["--config=other.yaml"], "other.yaml"),
    ):
        # From anywhere: the script finds the repository.
        done = subprocess.run(
            ["bash", copy, *given[:2], *options, *given[2:]], cwd="/", capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        place = str(config.relative_to(tmp_path).with_name(expected))
        called = done.stdout.splitlines()
        assert str(["-m", "recipes", recipe_of(script), place, *given]) in called
        assert called[-1].endswith(str([place, *given])[1:])  # the demo's last words hear of them too


@pytest.mark.parametrize("options", [["--dry-run"], ["--stop-stage", "train"], ["--stop-stage=train"]])
def test_the_demo_shows_no_model_that_was_not_made(options: list[str]) -> None:
    done = run_command("tools/show_demo.py", "egs/mini/asr/recipe.yaml", "exp_dir=/nowhere", *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_demo_finds_the_model_where_the_options_put_it(finished: Experiment) -> None:
    done = run_command("tools/show_demo.py", finished.config, "decode.beam=4", "--stage", "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"-m {finished.model}\n" in done.stdout
    assert f"{finished.exp_dir}/score/test-tiny.joint.txt" in done.stdout
    missing = run_command("tools/show_demo.py", finished.config, "exp_dir=/nowhere")
    assert missing.returncode == 1
    assert missing.stderr.startswith("show_demo: ") and "/nowhere/package/tiny" in missing.stderr


MARKDOWN = sorted(
    REPOSITORY / line
    for line in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
)


@pytest.mark.parametrize("path", MARKDOWN, ids=name)
def test_a_document_is_finished_and_its_links_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "@@" not in text
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            assert (path.parent / target.split("#")[0]).exists(), target
