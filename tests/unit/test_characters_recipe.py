"""What a recipe does otherwise where words have no spaces between them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lhotse import CutSet
from matplotlib.font_manager import fontManager
from matplotlib.image import imread

from recipes.asr import plots
from recipes.asr.config import ASRRecipe
from recipes.asr.evaluation import rate_names
from recipes.asr.plots import learning_curves, plot_attention
from s4speech.config.base import load_config
from s4speech.config.train import TrainConfig
from s4speech.data.corpora import read_corpus
from s4speech.data.doctor import examine
from s4speech.metrics.error_rate import score
from s4speech.metrics.html import write_report
from s4speech.metrics.report import format_report
from tests.conftest import message, tiny_config
from tests.csj_fixture import make_csj


def recipe(folder: Path, changes: dict[str, dict[str, Any]]) -> ASRRecipe:
    config = tiny_config(folder, folder / "exp")
    for section, values in changes.items():
        config[section] = config.get(section, {}) | values
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return load_config(ASRRecipe, path)


def test_a_vocabulary_is_as_large_as_the_text_only_of_characters(tmp_path: Path) -> None:
    found = recipe(tmp_path, {"tokenizer": {"type": "char", "vocab_size": None}})
    assert found.tokenizer.vocab_size is None
    told = message(lambda: recipe(tmp_path, {"tokenizer": {"type": "bpe", "vocab_size": None}}))
    assert "tokenizer" in told and "got null with type bpe" in told


def test_the_unit_of_errors(tmp_path: Path) -> None:
    assert recipe(tmp_path, {}).score.unit == "word"
    assert recipe(tmp_path, {"score": {"unit": "char"}}).score.unit == "char"
    told = message(lambda: recipe(tmp_path, {"score": {"unit": "kanji"}}))
    assert "score.unit" in told and "char" in told
    streaming = {"type": "streaming", "d_model": 48, "n_heads": 2, "d_ff": 96, "n_layers": 1}
    changes = {"model": {"encoder": streaming}, "score": {"unit": "char"}}
    assert "wanted word" in message(lambda: recipe(tmp_path, changes))


def test_which_error_rates_are_shown() -> None:
    assert (rate_names("word"), rate_names("char")) == (["WER", "CER"], ["CER"])
    panels = [learning_curves(unit)["greedy CTC error rate, validation"] for unit in ("word", "char")]
    assert panels == [("valid/wer", "valid/cer"), ("valid/cer",)]
    refs, hyps = {"a": "山は川"}, {"a": "山川"}
    for unit, first in (("word", "WER"), ("char", "CER")):
        lines = format_report(score(refs, hyps, unit=unit)).splitlines()
        assert lines[1].startswith(first)
    assert lines[1].split()[1] == "33.33"  # one of three characters
    assert TrainConfig(monitor="valid/cer").mode == "min"


def test_any_character_is_one_of_a_transcript_without_an_alphabet(tmp_path: Path) -> None:
    cuts: CutSet = read_corpus("csj", make_csj(tmp_path / "CSJ"), ["eval1"])["eval1"]
    assert [one for one in examine(cuts, alphabet=None).findings if one.fatal] == []
    assert any("outside the alphabet" in one.problem for one in examine(cuts, alphabet="ABC").findings)


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("fonts", [plots.EAST_ASIAN_FONTS, ()], ids=["a-font", "no-font"])
def test_japanese_tokens_in_a_plot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fonts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(plots, "EAST_ASIAN_FONTS", fonts)

    class Decoder:
        def attention_weights(self, tokens: torch.Tensor, *rest: object) -> torch.Tensor:
            return torch.rand(1, 1, 2, tokens.shape[1], 10)

    class Model:
        decoder, frame_shift_s = Decoder(), 0.04

        def encode(self, mel: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return mel, lengths

    target = tmp_path / "attention.png"
    model: Any = Model()
    plot_attention(model, torch.rand(1, 40, 8), [3, 4, 5], ["山", "ー", "A"], "title", target)
    assert np.ptp(imread(target)) > 0.5
    labels, used = plots._labels(["<sos>", "山", "A"])
    installed = {font.name for font in fontManager.ttflist} & set(fonts)
    assert labels == (["<sos>", "山", "A"] if installed else ["<sos>", "5C71", "A"])
    assert set(used) == {"DejaVu Sans"} | installed


def test_the_page_begins_with_the_character_error_rate(tmp_path: Path) -> None:
    report = score({"a": "山は川", "b": "空"}, {"a": "山川", "b": "空"}, unit="char")
    write_report(tmp_path / "page.html", {"joint": report}, title="eval1")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert 0 < page.index("CER %") < page.index("WER %")
    assert page.index(">25.00<") < page.index(">50.00<")  # one of four characters, one of two texts
