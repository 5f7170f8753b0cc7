"""A language model beside a recogniser, of either kind: given, or in its directory; and in the command."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from s4speech.cli.main import main
from s4speech.config.asr import ASRConfig
from s4speech.config.lm import LMConfig, S4LMConfig, TransformerLMConfig
from s4speech.models.asr.build import build_asr
from s4speech.models.lm import LanguageModel, LMPackageConfig, load_language_model, load_scorer, save_lm
from s4speech.models.package import ASRPackage, ASRPackageConfig, DecodeConfig, load_asr, save_asr
from s4speech.search import NgramLM
from s4speech.streaming.recognizer import DEFAULT_LM_WEIGHT, Recognizer
from s4speech.text.tokenizer import Tokenizer
from tests.conftest import message, one_line
from tests.tiny_streaming import RATE, TEXTS, babble, tiny_package

KINDS = ["s4", "transformer", "ngram"]
SIZE = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 24}


def offline_package(folder: Path) -> ASRPackage:
    """A model of whole utterances with random weights."""
    tokenizer = Tokenizer.train(TEXTS, folder / "tokenizer.model", 30)
    config = ASRConfig.model_validate(
        {
            "vocab_size": tokenizer.vocab_size, "features": {"n_mels": 20},
            "encoder": SIZE | {"kernel_size": 5}, "decoder": SIZE | {"type": "s4"},
        }
    )  # fmt: skip
    torch.manual_seed(3)
    model = build_asr(config).eval()
    model.set_statistics(torch.full((20,), -5.0), torch.full((20,), 2.0))
    return ASRPackage(model, tokenizer, ASRPackageConfig(model=config, decode=DecodeConfig(beam=3)))


@pytest.fixture(scope="module", params=["offline", "streaming"])
def recogniser(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory without a language model; read only."""
    folder = tmp_path_factory.mktemp(request.param)
    package = offline_package(folder) if request.param == "offline" else tiny_package(folder)
    (folder / "model").mkdir()
    save_asr(folder / "model", package.config, package.model, folder / "tokenizer.model", "card")
    return folder / "model"


def write_lm(kind: str, folder: Path, tokenizer: Path) -> Path:
    """A language model with opinions."""
    vocabulary = Tokenizer.load(tokenizer)
    if kind == "ngram":
        grams = "".join(f"-{(7 * i) % 11 / 4}\t{piece}\n" for i, piece in enumerate(vocabulary.pieces[3:]))
        head = f"\\data\\\nngram 1={vocabulary.vocab_size - 1}\n\n\\1-grams:\n-2\t</s>\n-99\t<s>\n"
        (folder / "lm.arpa").write_text(f"{head}{grams}\n\\end\\\n", "utf-8")
        return folder / "lm.arpa"
    size: dict[str, Any] = {"d_model": 16, "n_layers": 1, "d_ff": 16, "vocab_size": vocabulary.vocab_size}
    config: LMConfig = S4LMConfig(d_state=8, **size)
    if kind == "transformer":
        config = TransformerLMConfig(type="transformer", n_heads=2, **size)
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    torch.nn.init.normal_(model.output.weight, std=0.8)
    (folder / kind).mkdir()
    save_lm(folder / kind, LMPackageConfig(model=config), model, tokenizer, "card")
    return folder / kind


def heard(recogniser: Recognizer) -> list[str]:
    """What it makes of a recording, and of a stream if it can."""
    found = [recogniser.transcribe(babble(4), RATE).text]
    if recogniser.can_stream:
        session = recogniser.stream()
        found.append(str(session.accept(babble(4), RATE) + session.finish()))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_given_it_is_used_as_from_the_directory(recogniser: Path, kind: str, tmp_path: Path) -> None:
    path = write_lm(kind, tmp_path, recogniser / "tokenizer.model")
    plain = heard(Recognizer.load(recogniser))
    given = heard(Recognizer.load(recogniser, lm=path, lm_weight=0.8, length_bonus=0.5))
    assert all(one != two for one, two in zip(plain, given, strict=True)) and given[0]
    assert heard(Recognizer.load(recogniser, lm=path, lm_weight=0)) == plain
    default = heard(Recognizer.load(recogniser, lm=path, lm_weight=DEFAULT_LM_WEIGHT))
    assert heard(Recognizer.load(recogniser, lm=path)) == default

    package = load_asr(recogniser)
    lm = load_language_model(path, package.tokenizer)
    assert isinstance(lm, LanguageModel | NgramLM)
    config = package.config.model_copy(update={"lm": lm.config})
    weights = {"lm_weight": 0.8, "length_bonus": 0.5}
    if config.streaming is None:
        config = config.model_copy(update={"decode": config.decode.model_copy(update=weights)})
    else:
        search = config.streaming.search.model_copy(update=weights)
        config = config.model_copy(
            update={"streaming": config.streaming.model_copy(update={"search": search})}
        )
    whole = tmp_path / "whole"
    whole.mkdir()
    save_asr(whole, config, package.model, recogniser / "tokenizer.model", "card", lm=lm)
    assert load_asr(whole).config == config
    assert heard(Recognizer.load(whole)) == given
    assert heard(Recognizer.load(whole, lm_weight=0, length_bonus=0)) == plain
    scorer = load_scorer(path, package.tokenizer)
    assert heard(Recognizer(dataclasses.replace(package, config=config), lm=scorer)) == given


def test_beside_a_language_model_ctc_has_another_weight(recogniser: Path, tmp_path: Path) -> None:
    package = load_asr(recogniser)
    if package.config.streaming is not None:
        pytest.skip("a streaming model says it in its search")
    path = write_lm("s4", tmp_path, recogniser / "tokenizer.model")

    def texts(lm_weight: float, **decode: float) -> list[str]:
        own = package.config.decode.model_copy(update={"lm_weight": lm_weight} | decode)
        config = package.config.model_copy(update={"decode": own})
        lm = load_scorer(path, package.tokenizer) if lm_weight else None
        return heard(Recognizer(dataclasses.replace(package, config=config), lm=lm))

    beside = texts(0.8, lm_ctc_weight=0.95)
    assert beside == texts(0.8, ctc_weight=0.95) != texts(0.8)
    assert texts(0.0, lm_ctc_weight=0.95) == texts(0.0)


def test_what_is_wrong_is_said_in_a_line(recogniser: Path, tmp_path: Path) -> None:
    assert "has no language model; give one" in message(lambda: Recognizer.load(recogniser, lm_weight=0.5))
    assert "lm_weight: got -1" in message(lambda: Recognizer.load(recogniser, lm=tmp_path, lm_weight=-1))
    nan = float("nan")
    assert "length_bonus: got nan" in message(lambda: Recognizer.load(recogniser, length_bonus=nan))
    Tokenizer.train(["XYZ ZYX"], tmp_path / "tokenizer.model", 7, "char")
    other = write_lm("s4", tmp_path, tmp_path / "tokenizer.model")
    told = message(lambda: Recognizer.load(recogniser, lm=other))
    assert told == (
        f"language model {other}: its 7 tokens are not the 30 of the recogniser; train it with the"
        " recogniser's tokenizer.model"
    )


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[Any, str, str]]:
    def run(*arguments: object) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        return caught.value.code, captured.out, captured.err

    return run


def test_the_command_takes_one(
    recogniser: Path, tmp_path: Path, command: Callable[..., tuple[Any, str, str]]
) -> None:
    path = write_lm("ngram", tmp_path, recogniser / "tokenizer.model")
    soundfile.write(tmp_path / "a.wav", babble(4).astype(np.float32), RATE, subtype="FLOAT")
    base = ("transcribe", tmp_path / "a.wav", "-m", recogniser)
    code, plain, _ = command(*base)
    assert code == 0
    code, with_it, error = command(*base, "--lm", path, "--lm-weight", 0.8, "--length-bonus", 0.5)
    assert (code, error) == (0, "") and with_it != plain
    wanted = Recognizer.load(recogniser, lm=path, lm_weight=0.8, length_bonus=0.5)
    assert with_it.split() == wanted.transcribe_file(tmp_path / "a.wav").text.split()
    code, out, error = command(*base, "--lm", recogniser)
    assert (code, out) == (2, "") and one_line(error) and "there is no language model in" in error
    code, out, error = command(*base, "--lm-weight", 0.5)
    assert (code, out) == (2, "") and one_line(error) and "has no language model" in error
