"""A model directory with a language model: the recogniser uses it, and what is wrong with it is one line."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from s4speech.config.lm import S4LMConfig
from s4speech.models.lm import LanguageModel, load_language_model
from s4speech.models.package import LM_FILE, ASRPackage, load_asr, save_asr
from s4speech.streaming.recognizer import Recognizer
from tests.conftest import message
from tests.tiny_streaming import RATE, babble, tiny_package

SEARCH = {"beam": 4, "lm_weight": 0.5}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[ASRPackage, Path]:
    """A package with a language model that prefers some tokens by far; and its tokenizer.model."""
    folder = tmp_path_factory.mktemp("trained")
    package = tiny_package(folder, search=SEARCH)
    config = S4LMConfig(d_model=16, n_layers=1, d_ff=16, d_state=8, vocab_size=package.tokenizer.vocab_size)
    torch.manual_seed(0)
    lm = LanguageModel(config).eval()
    torch.nn.init.normal_(lm.output.weight, std=0.6)
    whole = package.config.model_copy(update={"lm": config})
    return replace(package, config=whole, lm=lm), folder / "tokenizer.model"


def save(folder: Path, trained: tuple[ASRPackage, Path], **options: Any) -> Path:
    package, tokenizer = trained
    folder.mkdir()
    save_asr(folder, package.config, package.model, tokenizer, "# A card\n", **{"lm": package.lm} | options)
    return folder


@pytest.fixture
def folder(trained: tuple[ASRPackage, Path], tmp_path: Path) -> Path:
    return save(tmp_path / "model", trained)


def said(recognizer: Recognizer, **options: Any) -> Sequence[object]:
    session = recognizer.stream(**options)
    return session.accept(babble(4), RATE) + session.finish()


def test_the_recogniser_uses_it(trained: tuple[ASRPackage, Path], folder: Path) -> None:
    package, _ = trained
    assert package.lm is not None
    loaded = load_asr(folder)
    assert loaded.lm is not None and loaded.config == package.config
    assert not loaded.lm.training and not any(p.requires_grad for p in loaded.lm.parameters())
    with_it = said(Recognizer(loaded))
    assert with_it == said(Recognizer(package))
    # Whole recordings as well as streams; and as if it were given to a recogniser that has none.
    without = Recognizer(replace(package, lm=None))
    assert with_it != said(without)
    assert with_it == said(without, lm=package.lm.freeze())
    whole = [one.transcribe(babble(4), RATE).text for one in (Recognizer.load(folder), without)]
    assert whole[0] and whole[0] != whole[1]


def test_a_package_without_one_has_no_file_of_it(trained: tuple[ASRPackage, Path], tmp_path: Path) -> None:
    package, tokenizer = trained
    alone = replace(package, config=package.config.model_copy(update={"lm": None}))
    folder = save(tmp_path / "model", (alone, tokenizer), lm=None)
    assert not (folder / LM_FILE).exists()
    assert load_asr(folder).lm is None


def test_half_of_the_bytes(trained: tuple[ASRPackage, Path], folder: Path, tmp_path: Path) -> None:
    half = save(tmp_path / "half", trained, half=True)
    assert (half / LM_FILE).stat().st_size < 0.7 * (folder / LM_FILE).stat().st_size
    wanted, got = load_asr(folder).lm, load_asr(half).lm
    assert wanted is not None and got is not None
    for name, value in wanted.state_dict().items():
        assert got.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(got.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    tokens = torch.randint(0, wanted.vocab_size, (2, 12))
    log_probs = [one.freeze().scan(tokens, one.freeze().init_state(2))[0] for one in (wanted, got)]
    torch.testing.assert_close(log_probs[1], log_probs[0], rtol=1e-3, atol=1e-3)


def test_a_language_model_of_other_tokens_is_named(folder: Path) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["lm"]["vocab_size"] += 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    told = message(lambda: load_asr(folder))
    assert told.startswith(f"{folder / 'config.yaml'}: lm.vocab_size: got 31, wanted the model's 30")


def test_it_can_be_named_by_the_directory_it_is_in(
    trained: tuple[ASRPackage, Path], folder: Path, tmp_path: Path
) -> None:
    package, tokenizer = trained
    assert package.lm is not None
    inside = load_language_model(folder, package.tokenizer)
    assert isinstance(inside, LanguageModel) and inside.config == package.lm.config
    for name, value in package.lm.state_dict().items():
        assert torch.equal(inside.state_dict()[name], value), name
    without = save(
        tmp_path / "without",
        (replace(package, config=package.config.model_copy(update={"lm": None})), tokenizer),
        lm=None,
    )
    told = message(lambda: load_language_model(without, package.tokenizer))
    assert told.startswith(f"{without / 'config.yaml'}: lm: there is no language model")
    assert said(Recognizer.load(without, lm=folder, lm_weight=0.5)) == said(Recognizer.load(folder))


def test_a_missing_language_model_is_named(folder: Path) -> None:
    (folder / LM_FILE).unlink()
    told = message(lambda: load_asr(folder))
    assert told.startswith(f"{folder / LM_FILE}: no such file")
    copy = shutil.copytree(folder, folder.with_name("copy"))
    assert str(copy / LM_FILE) in message(lambda: Recognizer.load(copy))


def test_another_language_models_weights_are_named(folder: Path) -> None:
    tensors = load_file(folder / LM_FILE)
    save_file({name: value for name, value in tensors.items() if name != "output.bias"}, folder / LM_FILE)
    told = message(lambda: load_asr(folder))
    assert told.startswith(f"{folder / LM_FILE}: tensor output.bias is missing")
    (folder / LM_FILE).write_bytes(b"PK\x03\x04 a pickle, perhaps")
    assert f"{folder / LM_FILE}: not a safetensors file" in message(lambda: load_asr(folder))
