"""The laws of the streaming model: what a stream computes is what training saw."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from s4speech.config.asr import ASRConfig
from s4speech.layers import cat_rows, select_rows, split_rows
from s4speech.models.asr.build import build_asr
from s4speech.models.asr.streaming import Projected, Start, StreamingASRModel
from s4speech.models.asr.streaming_encoder import FrozenStreamingEncoder, StreamingEncoder
from s4speech.models.asr.triggers import token_spans, trigger_frames, windows
from s4speech.text.tokenizer import EOS, SOS
from tests.oracles.compare import close, frames

ENCODERS: dict[str, dict[str, Any]] = {
    "conv1d": {},
    "conv2d": {"subsampling": "conv2d"},
    "reduced": {"reduce": True},
    "legs": {"reduce": True, "init": "legs", "inter_ctc": [1], "tied_dropout": True},
}
CHUNKS = [1, 2, 3, 8]


def build(
    name: str = "reduced", decoder: str = "s4", dtype: torch.dtype = torch.float64
) -> StreamingASRModel:
    torch.manual_seed(0)
    size: dict[str, Any] = {"d_model": 16, "n_layers": 2, "n_heads": 2, "d_ff": 24}
    encoder = size | {"type": "streaming", "kernel_size": 5, "left_frames": 6, "d_state": 4}
    encoder |= {"decoder_left": 3, "decoder_right": 1} | ENCODERS[name]
    config = {"vocab_size": 11, "features": {"n_mels": 12}, "encoder": encoder}
    model = build_asr(ASRConfig.model_validate(config | {"decoder": size | {"type": decoder}}))
    assert isinstance(model, StreamingASRModel)
    for block in model.encoder.blocks:
        torch.nn.init.normal_(block.attention.distance)  # type: ignore[union-attr,arg-type]
    model.ctc.weight.data.mul_(20)  # posteriors with peaks
    return model.to(dtype).eval()


def stream(encoder: StreamingEncoder, frozen: FrozenStreamingEncoder, x: Tensor, chunk: int) -> Tensor:
    """Chunk by chunk with a carried state."""
    state = frozen.init_state(len(x))
    size, step, parts = (chunk - 1) * encoder.factor + encoder.context, chunk * encoder.factor, []
    for start in range(0, x.shape[1], step):
        y, state = frozen.scan(x[:, start : start + size], state)
        parts.append(y)
    return torch.cat(parts, 1)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("name", ENCODERS)
def test_a_stream_of_chunks_is_the_whole_with_their_mask(name: str, chunk: int) -> None:
    encoder = build(name).encoder
    frozen, single = encoder.freeze(), build(name, dtype=torch.float32).encoder.freeze()
    for size in (7, 40, 97, 98, 99, 100, 101, 102, 103, 104):
        x = frames(2, size, 12, seed=size)
        with torch.no_grad():
            whole = encoder(x, torch.tensor([size, size]), chunk)
        found = stream(encoder, frozen, x, chunk)
        assert found.shape[1] == int(whole.lengths[0])
        close(found, whole.frames[:, : found.shape[1]], 1e-9)
        close(stream(encoder, single, x.float(), chunk), found.float(), 1e-4)


@pytest.mark.parametrize("chunk", [*CHUNKS, None])
@pytest.mark.parametrize("name", ENCODERS)
def test_padding_and_the_batch_change_nothing(name: str, chunk: int | None) -> None:
    encoder = build(name).encoder
    x, lengths = frames(3, 90, 12), torch.tensor([90, 61, 34])
    whole = encoder(x, lengths, chunk)
    for row, n in enumerate(lengths.tolist()):
        alone = encoder(x[row : row + 1, :n], lengths[row : row + 1], chunk)
        kept = int(alone.lengths[0])
        assert kept == int(whole.lengths[row])
        close(whole.frames[row, :kept], alone.frames[0, :kept], 1e-9)


@pytest.mark.parametrize("chunk", CHUNKS)
def test_nothing_is_seen_beyond_the_chunk_and_all_of_it_is(chunk: int) -> None:
    encoder = build("conv1d").encoder
    x = frames(1, 103, 12).requires_grad_()
    y = encoder(x, torch.tensor([103]), chunk).frames
    t = 9  # a frame in the middle
    (gradient,) = torch.autograd.grad(y[0, t].square().sum(), x)
    touched = gradient[0].abs().sum(1).nonzero()[:, 0]
    end = (t // chunk + 1) * chunk - 1  # the last frame of its chunk
    assert int(touched.max()) == end * encoder.factor + encoder.context - 1
    assert int(touched.min()) == 0, "S4D hears all of the past"


def test_the_state_has_one_size_for_ever_and_rows_are_their_own() -> None:
    encoder = build().encoder
    frozen = encoder.freeze()
    size = 3 * encoder.factor + encoder.context  # 4 frames
    chunks = [frames(3, size, 12, seed=i) for i in range(8)]

    def leaves(state: Any) -> list[Tensor]:
        return [state] if isinstance(state, Tensor) else [leaf for part in state for leaf in leaves(part)]

    state = frozen.init_state(3)
    shapes = [leaf.shape for leaf in leaves(state)]
    alone = split_rows(state, [1, 1, 1])
    together = []
    for number, x in enumerate(chunks):
        y, state = frozen.scan(x, state)
        assert [leaf.shape for leaf in leaves(state)] == shapes
        together.append(y)
        if number == 3:  # rows may change places, pause, and be joined again
            state = cat_rows(
                [select_rows(state, torch.tensor([2])), select_rows(state, torch.tensor([0, 1]))]
            )
            state = select_rows(state, torch.tensor([1, 2, 0]))
    for row in range(3):
        one = alone[row]
        for x, y in zip(chunks, together, strict=True):
            found, one = frozen.scan(x[row : row + 1], one)
            close(found[0], y[row], 1e-9)


@pytest.mark.parametrize("decoder", ["s4", "transformer"])
@torch.inference_mode()
def test_step_rescoring_and_training_score_a_transcript_alike(decoder: str) -> None:
    model = build(decoder=decoder)
    samples = 0.1 * torch.randn(1, 16000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ready = model.freeze()
    heard = ready.hear_whole(samples, torch.tensor([16000]))
    log_probs, tokens = heard.log_probs[0], [4, 5, 3]
    n = len(log_probs)
    projected, start = ready.decoder.project(heard.memory), ready.decoder.start()
    assert start.token == SOS
    rescored = ready.decoder.rescore([tokens, [7], []], log_probs, projected, 0, start)
    # as in training: one masked pass
    for hypothesis, value in zip([tokens, [7], []], rescored, strict=True):
        triggers = torch.tensor([[*trigger_frames(log_probs, hypothesis), n - 1]])
        seen = windows(triggers, torch.tensor([n]), n, *model.window, None)
        inputs = torch.tensor([[SOS, *hypothesis]])
        logits = model.decoder(inputs, heard.memory, heard.lengths, seen)
        wanted = logits.log_softmax(-1)[0].gather(1, torch.tensor([*hypothesis, EOS]).unsqueeze(1)).sum()
        assert value == pytest.approx(float(wanted), abs=1e-5)
    # as in the search: one step a token, each with its own window
    state, total, read = start.state, 0.0, SOS
    frames_of = [*trigger_frames(log_probs, tokens), n - 1]
    for frame, token in zip(frames_of, [*tokens, EOS], strict=True):
        where = ready.decoder.window(frame, n)
        cut = Projected(*(tuple(x[:, :, where] for x in part) for part in projected))
        valid = torch.ones(1, where.stop - where.start, dtype=torch.bool)
        found, state = ready.decoder.score(torch.tensor([read]), state, cut, valid)
        total, read = total + float(found[0, token]), token
    assert total == pytest.approx(rescored[0], abs=1e-5)
    # what comes after the segment goes on from its state
    after = ready.decoder.advance(tokens, log_probs, projected, 0, start)
    for one, other in itertools.zip_longest(torch.utils._pytree.tree_leaves(after.state), leaves_of(state)):
        close(one.double(), other.double(), 1e-6)
    assert isinstance(after, Start) and after.token == EOS


def leaves_of(state: Any) -> list[Tensor]:
    found: list[Tensor] = torch.utils._pytree.tree_leaves(state)
    return found


def test_hearing_in_chunks_is_hearing_it_all_with_the_chunk_mask() -> None:
    model = build(dtype=torch.float32)
    ready = model.freeze()
    samples = 0.1 * torch.randn(2, 40000, generator=torch.Generator().manual_seed(1))
    assert (ready.frame_samples, ready.overlap_samples) == (1280, 720)
    state, parts, chunk = ready.init_state(2), [], 3
    for begin in range(0, 40000, chunk * ready.frame_samples):
        window = samples[:, begin : begin + chunk * ready.frame_samples + ready.overlap_samples]
        if window.shape[1] >= ready.min_samples:
            heard, state = ready.hear(window, state)
            parts.append(heard.log_probs)
    mel, sizes = model.features(samples, torch.tensor([40000, 40000]))
    whole = model.encoder(model.normalize(mel), sizes, chunk)
    close(torch.cat(parts, 1), model.ctc_log_probs(whole.frames)[:, : int(whole.lengths[0])], 1e-4)


def test_loss_of_joined_utterances_trains_every_part_and_ignores_padding() -> None:
    model = build("legs").train()
    x, lengths = frames(2, 160, 12), torch.tensor([160, 120])
    tokens = torch.tensor([[3, 4, EOS, 5, 6], [7, EOS, 8, 0, 0]])
    losses = model.loss(x, lengths, tokens, torch.tensor([5, 3]))
    losses.total.backward()  # type: ignore[no-untyped-call]
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []
    model.eval()
    found = model.loss(x, lengths, tokens, torch.tensor([5, 3])).total
    changed = x.clone()
    changed[1, 120:] = 9.0
    close(model.loss(changed, lengths, tokens, torch.tensor([5, 3])).total, found, 1e-9)


def test_triggers_are_where_ctc_says_the_tokens() -> None:
    log_probs = torch.full((10, 6), 0.01)
    for frame, (token, p) in enumerate(
        [(0, 0.9), (3, 0.5), (3, 0.8), (0, 0.9), (0, 0.9), (4, 0.9), (0, 0.9), (4, 0.6), (5, 0.7), (0, 0.9)]
    ):
        log_probs[frame, token] = p
    log_probs = log_probs.log()
    spans = token_spans(log_probs, [3, 4, 4, 5])
    assert spans is not None
    assert [(s.first, s.last, s.peak) for s in spans] == [(1, 2, 2), (5, 5, 5), (7, 7, 7), (8, 8, 8)]
    assert spans[0].log_prob == pytest.approx(float(torch.tensor([0.5, 0.8]).log().sum()), abs=1e-6)
    assert trigger_frames(log_probs, [3, 4, EOS, 4, 5, EOS]) == [2, 5, 6, 7, 8, 8]
    assert token_spans(log_probs, [3] * 6) is None and token_spans(log_probs, []) is None
    spread = trigger_frames(log_probs, [3] * 9)
    assert spread == sorted(spread) and spread[0] >= 0 and spread[-1] <= 9


@pytest.mark.parametrize(
    "chunk, wanted", [(None, range(2, 7)), (8, range(2, 7)), (3, range(2, 6)), (5, range(2, 5))]
)
def test_a_window_ends_with_what_has_been_heard(chunk: int | None, wanted: range) -> None:
    seen = windows(torch.tensor([[4]]), torch.tensor([20]), 20, 2, 2, chunk)
    assert seen[0, 0].nonzero()[:, 0].tolist() == list(wanted)
    short = windows(torch.tensor([[4]]), torch.tensor([6]), 20, 2, 2, chunk)
    assert short[0, 0].nonzero()[:, 0].tolist() == [f for f in wanted if f < 6]


def test_full_context_and_drawn_chunks() -> None:
    encoder = build().encoder
    encoder.chunks, encoder.full_probability = (2, 5), 0.5
    torch.manual_seed(0)
    drawn = [encoder.draw_chunk() for _ in range(200)]
    assert set(drawn) == {None, 2, 5} and 60 < drawn.count(None) < 140
    x = frames(1, 103, 12)
    assert torch.equal(encoder(x, torch.tensor([103])).frames, encoder(x, torch.tensor([103]), None).frames)
    bare = encoder(x, torch.tensor([103]), 1000).frames
    windowed = (bare - encoder(x, torch.tensor([103])).frames).abs().max()
    assert windowed > 1e-6, "one large chunk still has a window of the past; full context has none"
