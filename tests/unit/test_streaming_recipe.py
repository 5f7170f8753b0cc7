"""What the streaming stages of the recognition recipe compute, piece by piece."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from recipes.asr import STAGES, STREAMING_STAGES
from recipes.asr.calibration import LEAST, Judged, bins, calibrated, expected_error, fit, judge, judged
from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from recipes.asr.delay import delays, emitted, word_ends
from recipes.asr.streaming import ctc_only, recordings
from s4speech.config.base import load_config
from s4speech.config.streaming import Calibration, SearchOptions, StreamingConfig
from s4speech.models.asr.build import build_asr
from s4speech.models.package import ASRPackageConfig, load_asr, save_asr
from s4speech.streaming.transcript import Word
from s4speech.text.tokenizer import Tokenizer
from tests.conftest import REPOSITORY, message

MINI = REPOSITORY / "egs/librispeech/asr/streaming_mini.yaml"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    return Tokenizer.train(["ab ba abba"], path, 6, "char")


@pytest.mark.parametrize(
    "shown, final, wanted",
    [
        ([(1, "a"), (2, "a b"), (3, "a b c")], (3, "a b c"), [1, 2, 3]),
        # It was right, then wrong, then right again: only the last time counts.
        ([(1, "a"), (2, "x"), (3, "a")], (3, "a"), [3]),
        ([(1, "a"), (2, "a"), (3, "a b"), (4, "a b")], (4, "a b"), [1, 3]),
        # Rescoring changes the first word at the very end, and adds the last one.
        ([(1, "x"), (2, "x b")], (5, "a b c"), [5, 2, 5]),
        # One word becomes two before them: b, c and d were there all the time; e is at the edge.
        ([(2, "x b c d e"), (3, "a a b c d e")], (3, "a a b c d e"), [3, 3, 2, 2, 2, 3]),
        # The second "a" was not said yet when the first was shown.
        ([(1, "a"), (2, "a b"), (3, "a b a")], (3, "a b a"), [1, 2, 3]),
        ([(1, ""), (2, "")], (2, ""), []),
        ([(1, "a")], (2, ""), []),
        ([(1, "")], (2, "a"), [2]),
    ],
)
def test_a_word_is_emitted_when_it_stands_for_good(shown: Any, final: Any, wanted: list[float]) -> None:
    assert emitted(shown, final) == wanted


def test_delays_are_of_correct_words_from_their_aligned_ends() -> None:
    assert delays("A B C", [1.0, 2.0, 3.0], "A X C", [1.5, 2.5, 2.75]) == [0.5, -0.25]
    assert delays("A B C", [1.0, 2.0, 3.0], "B C D", [2.5, 3.5, 9.0]) == [0.5, 0.5]
    assert delays("A", [1.0], "", []) == [] and delays("", [], "A", [1.0]) == []


def test_a_word_ends_with_the_last_frame_of_its_last_token(tokenizer: Tokenizer) -> None:
    path = [0, *tokenizer.encode("ab"), 0, 0, *tokenizer.encode("ba"), 0]
    log_probs = torch.full((len(path), 6), 0.01)
    log_probs[range(len(path)), path] = 0.95
    found = word_ends(log_probs.log(), "ab ba", tokenizer, 0.08)
    first = 1 + len(tokenizer.encode("ab"))
    assert found == pytest.approx([0.08 * first, 0.08 * (len(path) - 1)])
    assert word_ends(log_probs[:3].log(), "ab ba", tokenizer, 0.08) is None
    assert word_ends(log_probs.log(), "ab cd", tokenizer, 0.08) is None


def test_the_fit_finds_the_scale_and_offset_that_made_the_words() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(1, 2, 20_000)
    right = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logits - 0.7)))
    words = Judged(1 / (1 + np.exp(-logits)), right)
    found = fit(words)
    assert (found.scale, found.offset) == pytest.approx((0.5, -0.7), abs=0.05)
    before, after = expected_error(words), expected_error(calibrated(words, found))
    assert before > 0.15 and after < 0.02
    assert found == fit(words)


@pytest.mark.parametrize("pairs", [[], [(1.0, True)], [(0.0, False)] * 9, [(1.0, True), (0.0, True)]])
def test_few_words_give_a_finite_calibration(pairs: list[tuple[float, bool]]) -> None:
    words = judged(pairs)
    found = fit(words)
    assert np.isfinite([found.scale, found.offset]).all()
    assert found == Calibration() or pairs
    after = calibrated(words, found)
    assert len(after.confidences) == len(pairs) and 0 <= expected_error(after) <= 1


def test_calibrating_with_nothing_changes_nothing_but_the_ends() -> None:
    words = judged([(c / 20, True) for c in range(21)])
    after = calibrated(words, Calibration()).confidences
    assert after[1:-1] == pytest.approx(words.confidences[1:-1], abs=1e-3)
    assert after[[0, -1]] == pytest.approx([LEAST, 1 - LEAST], abs=1e-3)


def test_expected_error_by_hand() -> None:
    words = judged([(0.95, True), (0.91, False), (0.15, False), (0.15, True), (1.0, True)])
    found = bins(words)
    assert found.counts.tolist() == [2, 3]
    assert found.correct.tolist() == pytest.approx([1 / 2, 2 / 3])
    wanted = (2 * abs(0.15 - 1 / 2) + 3 * abs((0.95 + 0.91 + 1.0) / 3 - 2 / 3)) / 5
    assert expected_error(words) == pytest.approx(wanted)


def test_a_word_is_judged_by_its_place_in_the_alignment() -> None:
    words = [Word(text, 0, 1, c) for text, c in [("A", 0.9), ("X", 0.2), ("C", 0.8), ("D", 0.3)]]
    assert judge("A B C", words) == [(0.9, True), (0.2, False), (0.8, True), (0.3, False)]
    assert judge("A B", []) == [] and judge("", words[:1]) == [(0.9, False)]


def test_recordings_have_every_utterance_once_in_order() -> None:
    said = [("1-0", "1", "a"), ("1-1", "1", "b"), ("2-0", "2", "c"), ("1-2", "1", "d")]
    cuts: list[Any] = [
        SimpleNamespace(id=name, duration=2.0, supervisions=[SimpleNamespace(speaker=speaker, text=text)])
        for name, speaker, text in said
    ]
    found = recordings(cuts, 2)
    assert [(one.id, one.text, one.duration_s) for one in found] == [
        ("1-0+1", "a b", 4.0),
        ("1-2+0", "d", 2.0),
        ("2-0+0", "c", 2.0),
    ]
    assert [one.id for one in recordings(cuts, 1)] == ["1-0+0", "1-1+0", "1-2+0", "2-0+0"]


def test_without_the_decoder_nothing_makes_up_for_it() -> None:
    options = SearchOptions(beam=3, decoder_weight=0.4, rescore_weight=0.5, length_bonus=0.6)
    assert ctc_only(options) == SearchOptions(beam=3, decoder_weight=0, rescore_weight=0)


def test_the_encoder_decides_about_the_stages_and_the_chunks() -> None:
    mini = load_config(ASRRecipe, MINI)
    full = load_config(ASRRecipe, MINI.with_name("streaming.yaml"))
    assert mini.streams and full.streams and not load_config(ASRRecipe, MINI.with_name("mini.yaml")).streams
    context: Any = SimpleNamespace(config=mini)
    chunks = ASRContext.chunks.fget(context)  # type: ignore[attr-defined]
    assert chunks == {"160ms": 2, "320ms": 4, "640ms": 8, "full": None}
    context.config = full
    chunks = ASRContext.chunks.fget(context)  # type: ignore[attr-defined]
    assert chunks == {"160ms": 4, "320ms": 8, "640ms": 16, "full": None}
    offline, streaming = ([stage.name for stage in stages] for stages in (STAGES, STREAMING_STAGES))
    assert offline == [*streaming[:6], "decode", "score", "package"]
    assert streaming[6:] == ["decode", "calibrate", "longform", "score", "package"]


@pytest.mark.parametrize(
    "override, told",
    [
        ("streaming.chunks_ms=[100,640]", "streaming.chunks_ms: got 100, wanted multiples of a frame, 80 ms"),
        ("streaming.chunks_ms=[160]", "wanted chunk_ms (640) among them"),
        ("streaming.parts=[dev]", "streaming.parts: got 'dev', wanted some of: valid, dev-4spk"),
        ("streaming.groups=[2,4]", "wanted 1 and then larger numbers"),
        ("streaming.groups=[1,1]", "wanted 1 and then larger numbers"),
        ("streaming.serach.beam=3", "did you mean 'search'?"),
    ],
)
def test_what_cannot_be_decoded_is_refused(override: str, told: str) -> None:
    assert told in message(lambda: load_config(ASRRecipe, MINI, [override]))


def test_half_of_the_bytes_give_the_same_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = load_config(ASRRecipe, MINI).model
    encoder = config.encoder.model_copy(update={"d_model": 16, "n_layers": 5, "n_heads": 2, "d_ff": 16})
    decoder = config.decoder.model_copy(update={"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 16})
    config = config.model_copy(update={"encoder": encoder, "decoder": decoder, "vocab_size": 6})
    torch.manual_seed(0)
    model = build_asr(config).eval()
    model.set_statistics(torch.randn(80), torch.rand(80) + 0.5)
    (tmp_path / "tokenizer").write_bytes(tokenizer._model)
    sizes = []
    for half in (False, True):
        folder = tmp_path / str(half)
        folder.mkdir()
        use = StreamingConfig(chunk_ms=320, calibration=Calibration(scale=0.5, offset=-1))
        package = ASRPackageConfig(model=config, streaming=use)
        save_asr(folder, package, model, tmp_path / "tokenizer", "# A card\n", half=half)
        sizes.append((folder / "model.safetensors").stat().st_size)
        loaded = load_asr(folder)
        assert loaded.config.streaming == use
        for name, value in loaded.model.state_dict().items():
            assert value.dtype == model.state_dict()[name].dtype
            torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3 if half else 0, atol=1e-6)
    assert sizes[1] < 0.65 * sizes[0]
