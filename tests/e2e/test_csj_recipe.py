"""The recognition recipe on a tree in the published layout of CSJ: from SDB files to its error rates."""

import json
from pathlib import Path

import pytest
import yaml

from s4speech import Recognizer
from s4speech.data.corpora import read_corpus
from s4speech.data.csj import LISTED
from s4speech.metrics.trn import read_trn
from s4speech.text.tokenizer import Tokenizer
from tests.conftest import Experiment, tiny_config
from tests.csj_fixture import make_csj

PARTS = ("eval1", "eval2", "eval3")
HEARD = 9  # the column of a line that has the word as it is heard


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_csj(tmp_path_factory.mktemp("csj") / "CSJ")


@pytest.fixture(scope="module")
def finished(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A run of egs/csj/asr/recipe.yaml with the tiny recipe's sizes; read only."""
    folder = tmp_path_factory.mktemp("csj_run")
    experiment = Experiment(folder / "tiny.yaml", folder / "exp")
    tiny = tiny_config(tree, experiment.exp_dir)
    recipe = yaml.safe_load(Path("egs/csj/asr/recipe.yaml").read_text("utf-8"))
    del recipe["extends"]
    recipe |= {"exp_dir": str(experiment.exp_dir), "model": tiny["model"], "decode": tiny["decode"]}
    recipe["corpus"]["root"] = str(tree)
    recipe["train"] = tiny["train"] | {"epochs": 9, "monitor": "valid/cer"}
    recipe["package"]["name"] = "tiny"
    experiment.config.write_text(yaml.safe_dump(recipe), "utf-8")
    done = experiment.run()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    (experiment.exp_dir / "terminal.txt").write_text(done.stdout, "utf-8")
    return experiment


def terminal(experiment: Experiment) -> list[str]:
    return (experiment.exp_dir / "terminal.txt").read_text("utf-8").splitlines()


def characters(tree: Path, part: str) -> int:
    """Of all words of a part, read from the transcripts without lhotse."""
    paths = [path for path in (tree / "MORPH/SDB").rglob("*.sdb") if path.stem in LISTED[part]]
    lines = [line for path in paths for line in path.read_text("shift_jis").splitlines()]
    return sum(len(line.split("\t")[HEARD]) for line in lines)


def test_the_parts(finished: Experiment) -> None:
    rows = [line.replace("│", " ").split() for line in terminal(finished)]
    counted = {row[0]: int(row[1]) for row in rows if len(row) == 4 and row[1].isdigit()}
    assert counted == {"train": 57, "valid": 40, "eval1": 10, "eval2": 10, "eval3": 10}


def test_the_tokens_are_the_characters(finished: Experiment, tree: Path) -> None:
    tokenizer = Tokenizer.load(finished.exp_dir / "tokenizer" / "tokenizer.model")
    parts = read_corpus("csj", tree, ["core", "noncore"])
    texts = [cut.supervisions[0].text for cuts in parts.values() for cut in cuts]
    assert sorted(tokenizer.pieces[3:]) == sorted(set("".join(texts)))
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_the_report_counts_characters(finished: Experiment, tree: Path) -> None:
    results = json.loads((finished.exp_dir / "score" / "results.json").read_text("utf-8"))
    lines = terminal(finished)
    [head] = [line for line in lines if "CER %" in line]
    assert "WER" not in head and "chars" in head
    for part in PARTS:
        for method, label in (("ctc_greedy", "CTC greedy"), ("joint", "joint beam")):
            one = results[f"{part}/{method}"]
            counts = one["characters"]
            assert one["unit"] == "char" and one["sentences"] == 10
            wanted = characters(tree, part)
            assert counts["correct"] + counts["substitutions"] + counts["deletions"] == wanted
            assert one["cer"] < 0.5  # it learns; 1.0 where it does not
            [row] = [line.split() for line in lines if line.split()[:3] == [part, *label.split()]]
            assert row[3:5] == [str(wanted), f"{100 * one['cer']:.2f}"]
            text = (finished.exp_dir / "score" / f"{part}.{method}.txt").read_text("utf-8")
            assert text.count("id: ") == 10


def test_what_is_chosen_is_the_character_error_rate(finished: Experiment) -> None:
    log = (finished.exp_dir / "train" / "log.txt").read_text("utf-8")
    assert "valid/cer" in log
    card = (finished.model / "README.md").read_text("utf-8")
    assert "CER %" in card and "WER" not in card and "language `ja`" in card


def test_the_recogniser_hears_what_the_recipe_decoded(finished: Experiment, tree: Path) -> None:
    refs = read_trn(finished.exp_dir / "score" / "eval1.ref.trn")
    rows = read_trn(finished.exp_dir / "score" / "eval1.joint.trn")
    cuts = {cut.id: cut for cut in read_corpus("csj", tree, ["eval1"])["eval1"]}
    assert {name: cut.supervisions[0].text for name, cut in cuts.items()} == refs
    recognizer = Recognizer.load(finished.model)
    for name, cut in list(cuts.items())[:4]:
        assert recognizer.transcribe(cut.load_audio()[0], cut.sampling_rate).text == rows[name], name
