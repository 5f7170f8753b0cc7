"""Letters to sound: decoding, batches, the directory, and what the bundled model says."""

import itertools
import random
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from s4speech.errors import InputError
from s4speech.models.g2p import (
    G2P,
    LETTERS,
    LONGEST,
    PHONES,
    G2PConfig,
    ctc_loss,
    load_g2p,
    load_model,
    save_g2p,
)
from s4speech.text.phonemes import SYMBOLS, VOWELS, Pronouncer, spell
from tests.oracles.ctc import transcripts_by_enumeration

BUNDLED = Path(__file__).resolve().parents[2] / "s4speech/pretrained/en-g2p"
WORDS = ["a", "cat", "zzz", "unaccustomed", "qx", "brillig", "mimsy" * 4]


def tiny(seed: int = 0, **options: int) -> G2P:
    torch.manual_seed(seed)
    sizes = {"d_model": 16, "letter_layers": 2, "phone_layers": 1, "d_ff": 24, "d_state": 4, **options}
    return G2P(G2PConfig(**sizes)).eval()


def letters(words: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [torch.tensor([LETTERS.index(letter) for letter in word]) for word in words]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_a_word_is_said_the_same_alone_and_beside_others(copies: int) -> None:
    model = tiny(copies=copies)
    together, frames = model(*letters(WORDS))
    assert frames.tolist() == [copies * len(word) for word in WORDS]
    for i, word in enumerate(WORDS):
        alone, _ = model(*letters([word]))
        torch.testing.assert_close(together[i, : frames[i]], alone[0], rtol=1e-4, atol=1e-5)
    assert model.pronounce(WORDS) == [model.pronounce([word])[0] for word in WORDS]
    assert model.pronounce([]) == []


def test_decoding_merges_repeats_then_drops_blanks() -> None:
    """Against the definition of Graves et al. 2006, on the paths of a random network."""
    model = tiny(3)
    said = model.pronounce(WORDS)
    for word, got in zip(WORDS, said, strict=True):
        log_probs, _ = model(*letters([word]))
        path = log_probs[0].argmax(1).tolist()
        assert got == tuple(PHONES[label - 1] for label, _ in itertools.groupby(path) if label != 0)
    assert any(said)


def test_the_loss_is_the_sum_over_paths() -> None:
    torch.manual_seed(0)
    log_probs = torch.randn(2, 4, 3).log_softmax(-1)
    targets, sizes = torch.tensor([1, 2, 2, 1]), torch.tensor([3, 1])
    frames = torch.tensor([4, 2])
    wanted = [
        -transcripts_by_enumeration(log_probs[0].double())[(1, 2, 2)],
        -transcripts_by_enumeration(log_probs[1, :2].double())[(1,)],
    ]
    assert float(ctc_loss(log_probs, frames, targets, sizes)) == pytest.approx(sum(wanted) / 2, rel=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny()
    save_g2p(tmp_path, model, "# card\n")
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    for name, tensor in loaded.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name].half().float(), rtol=0, atol=0)
    assert all(not parameter.requires_grad for parameter in loaded.parameters())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.yaml",
        "model.safetensors",
    ]


def test_what_the_model_says_nothing_for_is_spelled(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        model.output.weight.zero_()
        model.output.bias[1:] = -100.0
    save_g2p(tmp_path, model, "")
    say = load_g2p(tmp_path)
    assert say("cat") == spell("cat")
    assert say("z" * 500) == spell("z" * 500)


def test_too_long_words_are_spelled_and_others_said(tmp_path: Path) -> None:
    save_g2p(tmp_path, tiny(3), "")
    say, word = load_g2p(tmp_path), "ab" * (LONGEST // 2)
    assert say(word) == load_model(tmp_path).pronounce([word])[0] != spell(word)
    assert say(word + "c") == spell(word + "c")


@pytest.mark.parametrize("word", ["", "Cat", "it's", "café", "a b", "7"])
def test_what_is_no_word_is_refused(tmp_path: Path, word: str) -> None:
    save_g2p(tmp_path, tiny(), "")
    with pytest.raises(InputError, match="wanted letters a-z"):
        load_g2p(tmp_path)(word)


def test_damaged_directories_name_the_file(tmp_path: Path) -> None:
    save_g2p(tmp_path, tiny(), "")
    weights = load_file(tmp_path / "model.safetensors")
    weights["output.bias"] = weights["output.bias"][:-1].clone()
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"model\.safetensors: tensor output\.bias has shape"):
        load_g2p(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors: no such file"):
        load_g2p(tmp_path)
    config = (tmp_path / "config.yaml").read_text("utf-8")
    (tmp_path / "config.yaml").write_text(config.replace("- ð\n", ""), "utf-8")
    with pytest.raises(InputError, match=r"config\.yaml: phones: not the inventory"):
        load_g2p(tmp_path)
    with pytest.raises(InputError, match=r"config\.yaml.*no such file"):
        load_g2p(tmp_path / "nowhere")


def test_phones_are_the_symbols_but_for_ends_and_pauses() -> None:
    assert SYMBOLS[8:] == PHONES


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("glorp", "ɡlɔɹp"),
        ("snarp", "snɑɹp"),
        ("thrimble", "θɹɪmbəl"),
        ("frobs", "fɹɑbz"),
        ("frabble", "fɹæbəl"),
    ],
)
def test_the_bundled_model_says_made_up_words(word: str, phones: str) -> None:
    assert not Pronouncer().known(word)
    assert re.sub("[ˌˈ]", "", "".join(load_g2p(BUNDLED)(word))) == phones


def test_the_bundled_model_always_says_something() -> None:
    say, rng = load_g2p(BUNDLED), random.Random(0)
    for _ in range(30):
        word = "".join(rng.choices(LETTERS, k=rng.randint(1, 12)))
        said = say(word)
        assert any(phone[-1] in VOWELS for phone in said)
        assert set(said) <= set(PHONES)
