"""The aligner: the best path and the sum over paths by brute force, the prior, padding."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import betabinom
from torch import Tensor

from s4speech.config.tts import AlignerConfig, SpeechTrainConfig
from s4speech.data.speech import SpeechBatch
from s4speech.models.tts.aligner import BLANK, Aligner, best_path, beta_binomial, forward_sum_loss
from s4speech.train.aligner import AlignerTask
from tests.oracles.compare import close, frames

SYMBOLS, MELS, QUIET = 12, 5, 4


def all_durations(t: int, n: int) -> Iterator[tuple[int, ...]]:
    """Every way to give t frames to n phones, at least one each."""
    for cuts in itertools.combinations(range(1, t), n - 1):
        ends = (0, *cuts, t)
        yield tuple(b - a for a, b in itertools.pairwise(ends))


@pytest.mark.parametrize("t, n", [(1, 1), (4, 1), (3, 3), (7, 2), (8, 3), (9, 5)])
def test_the_best_path_is_the_best_of_all(t: int, n: int) -> None:
    for seed in range(5):
        log_probs = frames(t, n, seed=seed).log_softmax(-1).numpy().astype(np.float32)

        def score(durations: tuple[int, ...], log_probs: np.ndarray = log_probs) -> float:
            phones = [phone for phone, count in enumerate(durations) for _ in range(count)]
            return float(sum(log_probs[i, phone] for i, phone in enumerate(phones)))

        found = best_path(log_probs)
        assert found.dtype == np.int64 and found.min() >= 1 and found.sum() == t
        assert score(tuple(found)) == pytest.approx(max(map(score, all_durations(t, n))), abs=1e-5)


def test_fewer_frames_than_phones_have_no_path() -> None:
    with pytest.raises(ValueError, match=r"^log_probs: got 2 frames for 3 phones"):
        best_path(np.zeros((2, 3), np.float32))


def test_a_path_through_certainties() -> None:
    log_probs = np.full((6, 3), -50.0, np.float32)
    for i, phone in enumerate([0, 0, 1, 2, 2, 2]):
        log_probs[i, phone] = 0.0
    assert best_path(log_probs).tolist() == [2, 1, 3]


def sum_of_paths(log_probs: Tensor) -> float:
    """(T, N) -> log of the sum over all sequences of phones and blanks that read 1 .. N."""
    t, n = log_probs.shape
    normal = torch.cat([torch.full((t, 1), BLANK, dtype=log_probs.dtype), log_probs], 1).log_softmax(-1)
    scores = []
    for path in itertools.product(range(n + 1), repeat=t):
        said = [symbol for symbol, _ in itertools.groupby(path) if symbol]
        if said == list(range(1, n + 1)):
            scores.append(sum(float(normal[i, symbol]) for i, symbol in enumerate(path)))
    return float(torch.tensor(scores, dtype=torch.float64).logsumexp(0))


def test_the_loss_is_the_sum_over_all_paths() -> None:
    log_probs = frames(3, 6, 3).log_softmax(-1)
    token_lengths, lengths = torch.tensor([3, 1, 2]), torch.tensor([6, 4, 5])
    alone = [
        -sum_of_paths(log_probs[row, :t, :n]) / t
        for row, (n, t) in enumerate(zip(token_lengths.tolist(), lengths.tolist(), strict=True))
    ]
    assert float(forward_sum_loss(log_probs, token_lengths, lengths)) == pytest.approx(
        np.mean(alone), abs=1e-9
    )


def test_an_utterance_too_short_for_its_text_costs_nothing() -> None:
    log_probs = frames(1, 2, 3).log_softmax(-1).requires_grad_()
    loss = forward_sum_loss(log_probs, torch.tensor([3]), torch.tensor([2]))
    loss.backward()
    assert float(loss.detach()) == 0.0 and log_probs.grad is not None and torch.isfinite(log_probs.grad).all()


def test_the_prior_is_beta_binomial() -> None:
    token_lengths, lengths = torch.tensor([7, 3, 1]), torch.tensor([20, 11, 4])
    found = beta_binomial(token_lengths, lengths, 7, 20)
    assert found.shape == (3, 20, 7) and torch.isfinite(found).all()
    for row, (n, t) in enumerate(zip(token_lengths.tolist(), lengths.tolist(), strict=True)):
        frame = np.arange(1, t + 1)[:, None]
        wanted = betabinom.logpmf(np.arange(n)[None], n - 1, frame, t - frame + 1)
        np.testing.assert_allclose(found[row, :t, :n].numpy(), wanted, rtol=1e-4, atol=1e-4)


def build(n_quiet: int = QUIET) -> Aligner:
    torch.manual_seed(0)
    aligner = Aligner(SYMBOLS, MELS, AlignerConfig(d_model=8), n_speakers=2, n_quiet=n_quiet)
    aligner.set_statistics(torch.randn(MELS), torch.rand(MELS) + 0.5)
    torch.nn.init.normal_(aligner.speaker.weight)
    return aligner.eval()


def batch(*sizes: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(phones, frames) of each utterance -> what the aligner reads, padded with what is none."""
    n, t = (max(size) for size in zip(*sizes, strict=True))
    tokens = torch.randint(0, SYMBOLS, (len(sizes), n), generator=torch.Generator().manual_seed(1))
    mel = frames(len(sizes), t, MELS, dtype=torch.float32)
    lengths = torch.tensor(sizes)
    return tokens, lengths[:, 0], mel, lengths[:, 1], torch.arange(len(sizes)) % 2


def test_a_row_does_not_hear_its_padding() -> None:
    aligner, sizes = build(), [(6, 15), (4, 9), (1, 3)]
    tokens, token_lengths, mel, lengths, speaker = batch(*sizes)
    with torch.no_grad():
        together = aligner(tokens, token_lengths, mel, lengths, speaker)
        assert together.shape == (3, 15, 6)
        for row, (n, t) in enumerate(sizes):
            one = slice(row, row + 1)
            alone = aligner(tokens[one, :n], token_lengths[one], mel[one, :t], lengths[one], speaker[one])
            close(together[one, :t, :n], alone, 1e-5)
            assert float(together[row, :t, n:].exp().sum()) == 0.0


def test_marks_of_silence_are_one_and_the_same() -> None:
    tokens, token_lengths, mel, lengths, speaker = batch((5, 9))
    tokens[0] = torch.tensor([0, 7, 2, 9, 1])
    marked = tokens.clone()
    marked[0] = torch.tensor([0, 7, 3, 9, 0])
    with torch.no_grad():
        for aligner, same in ((build(), True), (build(n_quiet=1), False)):
            one, other = (aligner(x, token_lengths, mel, lengths, speaker) for x in (tokens, marked))
            assert torch.equal(one, other) == same


def test_speakers_are_heard() -> None:
    tokens, token_lengths, mel, lengths, _ = batch((5, 9))
    with torch.no_grad():
        one, other = (build()(tokens, token_lengths, mel, lengths, torch.tensor([i])) for i in (0, 1))
    assert float((one - other).abs().max()) > 1e-3


def test_it_learns_where_the_phones_are() -> None:
    """Made-up phones, each a spectrum of its own: what the prior only guesses is found in some steps."""
    rows, n = 16, 16
    random = torch.Generator().manual_seed(2)
    spectra = 3 * torch.randn(SYMBOLS, MELS, generator=random)
    tokens = torch.randint(1, 8, (rows, n), generator=random).cumsum(1) % 8 + QUIET  # none twice in a row
    durations = torch.randint(3, 9, (rows, n), generator=random)
    sounds = [spectra[t].repeat_interleave(d, 0) for t, d in zip(tokens, durations, strict=True)]
    mel, lengths = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True), durations.sum(1)
    mel = mel + 0.1 * torch.randn(mel.shape, generator=random)
    torch.manual_seed(0)
    aligner = Aligner(SYMBOLS, MELS, AlignerConfig(d_model=16, dropout=0.0), n_quiet=QUIET)
    aligner.set_statistics(torch.zeros(MELS), torch.full((MELS,), 3.0))
    task = AlignerTask(aligner, SpeechTrainConfig(epochs=1), 1.0, 0.01)
    names, none = [str(i) for i in range(rows)], torch.zeros(mel.shape[:2])
    token_lengths, speaker = torch.full((rows,), n), torch.zeros(rows, dtype=torch.long)
    batch = SpeechBatch(names, tokens, token_lengths, speaker, mel, none, none, lengths, durations)

    def found() -> float:
        """The part of the borders that are right to a frame."""
        with torch.no_grad():
            log_probs = aligner(tokens, token_lengths, mel, lengths, speaker)
        best = np.stack([best_path(p[:t].numpy()) for p, t in zip(log_probs, lengths.tolist(), strict=True)])
        return float((np.abs((best - durations.numpy()).cumsum(1))[:, :-1] <= 1).mean())

    assert found() < 0.5
    optimizer = torch.optim.Adam(aligner.parameters(), lr=5e-3)
    for _ in range(20):
        optimizer.zero_grad()
        (loss,) = task.losses(batch).values()
        loss.backward()
        optimizer.step()
    assert found() > 0.75
