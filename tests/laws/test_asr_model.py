"""The laws of the recognition model: an utterance is the same alone, in a batch, in training, in decoding."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from s4speech.audio.features import LogMel
from s4speech.config.asr import ASRConfig, ConformerConfig, S4DecoderConfig, TransformerDecoderConfig
from s4speech.layers import S4D, cat_rows, select_rows
from s4speech.layers.attention import relative_positions
from s4speech.models.asr import build as asr_build
from s4speech.models.asr import model as asr
from s4speech.models.asr.decoder import KERNELS, Decoder, S4Decoder, TransformerDecoder
from s4speech.models.asr.encoder import ConformerEncoder, parameter_count
from tests.oracles.compare import close, frames

ENCODERS: dict[str, dict[str, Any]] = {
    "conv2d": {"subsampling": "conv2d"},
    "conv1d": {"subsampling": "conv1d"},
    "reduced-first": {"subsampling": "conv1d", "reduce_after": 0},
    "reduced-later": {"subsampling": "conv2d", "reduce_after": 1, "inter": [1, 2], "tied_dropout": True},
}
DECODERS = {
    "s4": lambda: S4Decoder(11, 16, 2, 2, 32, d_state=8),
    "s4-legs64": lambda: S4Decoder(11, 16, 1, 4, 32, d_state=64, n_ssm=2, discretization="zoh"),
    "s4-low-rank": lambda: S4Decoder(11, 16, 1, 2, 32, kernel="s4", d_state=8),
    "transformer": lambda: TransformerDecoder(11, 16, 2, 2, 32),
}
each_encoder = pytest.mark.parametrize("kind", ENCODERS)
each_decoder = pytest.mark.parametrize("kind", DECODERS)


def make_encoder(kind: str) -> ConformerEncoder:
    torch.manual_seed(0)
    encoder = ConformerEncoder(20, 16, 3, 2, 32, 5, **ENCODERS[kind]).double().eval()
    with torch.no_grad():
        for p in encoder.parameters():  # relative biases start at 0, norms at 1
            p.add_(0.1 * torch.randn_like(p))
    return encoder


def make_decoder(kind: str) -> Decoder:
    torch.manual_seed(0)
    return DECODERS[kind]().eval()


@each_encoder
def test_an_utterance_is_encoded_in_a_batch_as_alone(kind: str) -> None:
    encoder = make_encoder(kind)
    lengths = torch.tensor([90, 61, 33, 8, 7, 3, 0])
    x = frames(7, 97, 20)
    for row, n in enumerate(lengths.tolist()):
        x[row, n:] = 1e4 * frames(97 - n, 20, seed=2)
    with torch.no_grad():
        batch = encoder(x, lengths)
        assert batch.frames.isfinite().all()
        for row, n in enumerate(lengths.tolist()):
            if n < 7:
                assert batch.lengths[row] == 0
                continue
            alone = encoder(x[row : row + 1, :n], lengths[row : row + 1])
            assert alone.frames.shape[1] == batch.lengths[row] == alone.lengths[0] > 0
            close(batch.frames[row, : batch.lengths[row]], alone.frames[0], 1e-9)
            for (together, m), (single, k) in zip(batch.inter, alone.inter, strict=True):
                assert m[row] == k[0] == single.shape[1]
                close(together[row, : m[row]], single[0], 1e-9)
        order = torch.tensor([3, 0, 2])
        again = encoder(x[order], lengths[order])
        close(again.frames[1, : again.lengths[1]], batch.frames[0, : batch.lengths[0]], 1e-9)


@each_encoder
def test_encoder_lengths_and_factor(kind: str) -> None:
    encoder = make_encoder(kind)
    for n in [*range(7, 60), 800]:
        with torch.no_grad():
            encoded = encoder(torch.zeros(1, n, 20).double(), torch.tensor([n]))
        assert encoded.frames.shape[1] == int(encoded.lengths)
    assert abs(int(encoded.lengths) - 800 // encoder.factor) <= 1
    with pytest.raises(ValueError, match=r"^features: got 6 frames, wanted 7"):
        encoder(torch.zeros(1, 6, 20).double(), torch.tensor([6]))


def test_the_encoder_knows_where_it_is() -> None:
    """Relative attention is the formula of Dai et al. 2019, element by element."""
    attention = make_encoder("conv1d").blocks[0].attention
    x, mask = frames(1, 9, 16), torch.ones(1, 1, 1, 9, dtype=torch.bool)
    positions = relative_positions(9, 16, x)
    with torch.no_grad():
        wanted = attention(x, positions, mask)
        assert not torch.allclose(attention(x.flip(1), positions, mask).flip(1), wanted)
        q, k, v = (f(x)[0].unflatten(-1, (2, 8)) for f in (attention.query, attention.key, attention.value))
        r = attention.position(positions).unflatten(-1, (2, 8))
        u, w = attention.content_bias[:, 0], attention.position_bias[:, 0]
        heads = torch.zeros(9, 2, 8, dtype=torch.float64)
        for i, h in itertools.product(range(9), range(2)):
            scores = torch.stack(
                [(q[i, h] + u[h]) @ k[j, h] + (q[i, h] + w[h]) @ r[8 - (i - j), h] for j in range(9)]
            )
            heads[i, h] = (scores / 8**0.5).softmax(0) @ v[:, h]
        close(attention.project_out(heads.flatten(1)), wanted[0], 1e-9)
        assert torch.equal(positions[8], relative_positions(1, 16, x)[0]), "offset 0 stands in the middle"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"subsampling": "conv3d"}, "subsampling: got 'conv3d'"),
        ({"reduce_after": 3}, "reduce_after: got 3"),
        ({"inter": [3]}, r"inter_ctc: got \[3\]"),
        ({"inter": [0]}, r"inter_ctc: got \[0\]"),
        ({"kernel_size": 4}, "kernel_size: got 4"),
        ({"n_heads": 3}, "n_heads: got 3"),
        ({"d_model": 15, "n_heads": 3}, "d_model: got 15"),
    ],
)
def test_an_invalid_encoder_option_is_named(options: dict[str, Any], message: str) -> None:
    sizes = {"d_model": 16, "n_layers": 3, "n_heads": 2, "d_ff": 32, "kernel_size": 5}
    with pytest.raises(ValueError, match=f"^{message}"):
        ConformerEncoder(20, **{**sizes, **options})


def forced(decoder: Decoder, tokens: Tensor, memory: Tensor, lengths: Tensor) -> Tensor:
    with torch.no_grad():
        return decoder(tokens, memory, lengths).log_softmax(-1)


@each_decoder
def test_training_and_decoding_score_the_same(kind: str) -> None:
    decoder = make_decoder(kind)
    tokens = torch.randint(0, 11, (6, 9), generator=torch.Generator().manual_seed(1))  # 3 utterances x 2
    memory, lengths = frames(3, 12, 16, dtype=torch.float32), torch.tensor([12, 5, 1])
    wanted = forced(decoder, tokens, memory.repeat_interleave(2, 0), lengths.repeat_interleave(2))
    decoder.train()
    frozen = decoder.freeze()
    assert decoder.training
    with torch.no_grad():  # later training does not reach it
        for p in decoder.parameters():
            p.mul_(1.1)
    scorer = frozen.bind(memory, lengths)
    state, scores = scorer.init_state(6), []
    for u in range(9):
        log_probs, state = scorer.score(tokens[:, u], state)
        scores.append(log_probs)
    close(torch.stack(scores, 1), wanted, 1e-4)
    assert state.position.tolist() == [9] * 6


@each_decoder
def test_padded_memory_and_padded_tokens_never_change_a_score(kind: str) -> None:
    decoder = make_decoder(kind)
    tokens = torch.randint(0, 11, (3, 9), generator=torch.Generator().manual_seed(1))
    lengths, sizes = torch.tensor([12, 5, 1]), [9, 6, 2]
    memory = frames(3, 14, 16, dtype=torch.float32)
    for row, n in enumerate(lengths.tolist()):
        memory[row, n:] = 1e6
    batch = forced(decoder, tokens, memory, lengths)
    bound = decoder.freeze().bind(memory, lengths)
    first, _ = bound.score(tokens[:, 0], bound.init_state(3))
    for row, (n, u) in enumerate(zip(lengths.tolist(), sizes, strict=True)):
        alone = forced(decoder, tokens[row : row + 1, :u], memory[row : row + 1, :n], lengths[row : row + 1])
        close(batch[row, :u], alone[0], 1e-4)
        close(first[row], alone[0, 0], 1e-4)


@each_decoder
def test_an_utterance_without_frames_does_not_spoil_the_batch(kind: str) -> None:
    decoder = make_decoder(kind).train()
    memory = frames(2, 6, 16, dtype=torch.float32).requires_grad_()
    logits = decoder(torch.tensor([[2, 5], [2, 6]]), memory, torch.tensor([6, 0]))
    assert logits.isfinite().all()
    logits[0].square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in [*decoder.parameters(), memory])


@each_decoder
def test_rows_of_the_scorer_are_reordered_and_utterances_leave(kind: str) -> None:
    """A beam by hand: fork and reorder hypotheses, drop the middle utterance, compare with forced scores."""
    decoder = make_decoder(kind)
    memory, lengths = frames(3, 12, 16, dtype=torch.float32), torch.tensor([12, 5, 7])
    scorer = decoder.freeze().bind(memory, lengths)
    history = [[2]] * 6
    read, state = torch.tensor([2] * 6), scorer.init_state(6)
    moves = [[0, 0, 2, 3, 5, 4], [1, 0, 3, 3, 4, 5], None, [1, 1, 3, 2], [0, 1, 2, 2]]
    owner = [0, 0, 1, 1, 2, 2]
    for step, move in enumerate(moves):
        log_probs, state = scorer.score(read, state)
        for row, tokens in enumerate(history):
            own = slice(owner[row], owner[row] + 1)
            wanted = forced(decoder, torch.tensor([tokens]), memory[own], lengths[own])[0, -1]
            close(log_probs[row], wanted, 1e-4)
        if move is None:
            scorer, move, owner = scorer.keep(torch.tensor([0, 2])), [0, 1, 4, 5], [0, 0, 2, 2]
        history = [[*history[row], 3 + (step + row) % 8] for row in move]
        state, read = select_rows(state, torch.tensor(move)), torch.tensor([h[-1] for h in history])
    with pytest.raises(ValueError, match=r"^tokens: got 3 rows, wanted a multiple of 2"):
        scorer.score(read[:3], select_rows(state, torch.arange(3)))


@each_decoder
def test_hypotheses_of_different_age_can_share_a_batch(kind: str) -> None:
    decoder = make_decoder(kind)
    memory, lengths = frames(1, 8, 16, dtype=torch.float32), torch.tensor([8])
    scorer = decoder.freeze().bind(memory, lengths)
    old = scorer.init_state(1)
    for token in (2, 5, 7):
        _, old = scorer.score(torch.tensor([token]), old)
    both = cat_rows([old, scorer.init_state(1)])
    log_probs, both = scorer.score(torch.tensor([4, 2]), both)
    log_probs, _ = scorer.score(torch.tensor([6, 9]), both)
    close(log_probs[0], forced(decoder, torch.tensor([[2, 5, 7, 4, 6]]), memory, lengths)[0, -1], 1e-4)
    close(log_probs[1], forced(decoder, torch.tensor([[2, 9]]), memory, lengths)[0, -1], 1e-4)


def test_attention_weights_are_those_of_the_decoder() -> None:
    decoder, lengths = make_decoder("s4"), torch.tensor([12, 5])
    memory, tokens = frames(2, 12, 16, dtype=torch.float32), torch.tensor([[2, 3, 4], [2, 5, 6]])
    weights = decoder.attention_weights(tokens, memory, lengths)
    assert weights.shape == (2, 2, 2, 3, 12)
    close(weights.sum(-1), torch.ones(2, 2, 2, 3), 1e-6)
    assert not weights[:, 1, ..., 5:].any()
    layer = decoder.layers[0]
    with torch.no_grad():
        x = layer.mixer(decoder.embed(tokens, torch.arange(3)))
        values = layer.cross.project(memory, lengths).values
        mixed = (weights[0] @ values).transpose(1, 2).flatten(-2)
        wanted = layer.cross(layer.cross_norm(x), layer.cross.project(memory, lengths))
        close(layer.cross.project_out(mixed), wanted, 1e-5)


def small(**options: Any) -> ASRConfig:
    size = {"d_model": 16, "n_heads": 2, "d_ff": 32}
    encoder = ConformerConfig(n_layers=2, kernel_size=5, subsampling="conv1d", inter_ctc=[1], **size)
    decoder = options.pop("decoder", S4DecoderConfig)(n_layers=2, **size)
    return ASRConfig(encoder=encoder, decoder=decoder, vocab_size=11, **options)


def make_batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tokens, token_lengths = torch.tensor([[4, 5, 5, 6], [7, 0, 0, 0], [3, 8, 0, 0]]), torch.tensor([4, 1, 2])
    return frames(3, 60, 80, dtype=torch.float32), torch.tensor([60, 30, 41]), tokens, token_lengths


@pytest.mark.parametrize("decoder", [S4DecoderConfig, TransformerDecoderConfig])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_loss_reaches_every_parameter(decoder: type, mode: str) -> None:
    torch.manual_seed(0)
    model = asr_build.build_asr(small(decoder=decoder)).train(mode == "train")
    losses = model.loss(*make_batch())
    assert all(value.isfinite() for value in losses)
    losses.total.backward()
    for name, p in model.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
        # a bias of the keys moves all scores of a query alike: no gradient but rounding
        assert p.grad.abs().max() > (0 if mode == "eval" and "key.bias" not in name else -1), name


@pytest.mark.parametrize("ctc_weight", [0.0, 0.3, 1.0])
def test_the_loss_is_what_it_says(ctc_weight: float) -> None:
    torch.manual_seed(0)
    model = asr_build.build_asr(small(ctc_weight=ctc_weight)).eval()
    features, lengths, tokens, token_lengths = make_batch()
    with torch.no_grad():
        losses = model.loss(features, lengths, tokens, token_lengths)
        encoded = model.encoder(features, lengths)
        n_tokens, attention, right, final, inter = int(token_lengths.sum()), [], [], 0.0, 0.0
        for row, u in enumerate(token_lengths.tolist()):
            own = slice(row, row + 1)
            read, write = [asr.SOS, *tokens[row, :u].tolist()], [*tokens[row, :u].tolist(), asr.EOS]
            logits = model.decoder(torch.tensor([read]), encoded.frames[own], encoded.lengths[own])[0]
            for p, target in zip(logits.log_softmax(-1), write, strict=True):
                attention.append(-(0.9 * p[target] + 0.1 * p.mean()))
                right.append(float(p.argmax() == target))
            for where, (memory, n) in (("final", encoded[:2]), ("inter", encoded.inter[0])):
                memory = model.encoder.norm(memory) if where == "inter" else memory
                log_probs = model.ctc_log_probs(memory[row, : n[row]])
                loss = torch.nn.functional.ctc_loss(
                    log_probs, tokens[row, :u], n[row], token_lengths[row], reduction="sum"
                )
                final, inter = final + loss * (where == "final"), inter + loss * (where == "inter")
    mean, joint = torch.stack(attention).mean(), (0.7 * final + 0.3 * inter) / n_tokens
    total = joint if ctc_weight == 1 else ctc_weight * joint + (1 - ctc_weight) * mean
    close(losses.total, total, 1e-5)
    close(losses.ctc, final / n_tokens, 1e-5)
    if ctc_weight < 1:
        close(losses.attention, mean, 1e-5)
        assert float(losses.accuracy) == pytest.approx(sum(right) / len(right))


def test_an_utterance_with_more_tokens_than_frames_does_not_stop_the_training() -> None:
    torch.manual_seed(0)
    model = asr_build.build_asr(small())
    features, _, tokens, token_lengths = make_batch()
    losses = model.loss(features, torch.tensor([60, 7, 12]), tokens[[1, 0, 0]], token_lengths[[1, 0, 0]])
    losses.total.backward()
    assert losses.total.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_too_short_utterances_give_no_frames() -> None:
    model = asr_build.build_asr(small()).eval()
    with torch.no_grad():
        for n in range(1, 7):
            memory, lengths = model.encode(torch.randn(2, n, 80), torch.tensor([n, 0]))
            assert lengths.tolist() == [0, 0] and memory.shape[0] == 2 and memory.isfinite().all()
        _, lengths = model.encode(torch.randn(2, 7, 80), torch.tensor([7, 6]))
    assert lengths.tolist() == [1, 0]


def test_statistics_normalise_and_the_frame_shift_is_stated() -> None:
    model = asr_build.build_asr(small())
    x = 3 * torch.randn(1000, 80) + 5
    model.set_statistics(x.mean(0), x.std(0))
    y = model.normalize(x)
    assert y.mean(0).abs().max() < 1e-5 and (y.std(0) - 1).abs().max() < 1e-5
    model.set_statistics(torch.zeros(80), torch.zeros(80))  # a silent band
    assert model.normalize(x).isfinite().all()
    assert model.frame_shift_s == 0.04


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"^vocab_size: got null"):
        asr_build.build_asr(ASRConfig())
    with pytest.raises(ValueError, match=r"^decoder d_model: got 512"):
        asr_build.build_asr(
            ASRConfig(vocab_size=10, encoder=ConformerConfig(d_model=16, n_heads=2, n_layers=1))
        )


@pytest.fixture
def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds models on the meta device, but for the front end, whose filter bank is computed."""

    def front_end(**options: Any) -> LogMel:
        with torch.device("cpu"):
            return LogMel(**options)

    monkeypatch.setattr(asr_build, "LogMel", front_end)


@pytest.mark.usefixtures("without_memory")
@pytest.mark.parametrize(
    "decoder, whole, part", [(S4DecoderConfig(), 113.2, 27.4), (TransformerDecoderConfig(), 116.2, None)]
)
def test_the_published_sizes(decoder: Any, whole: float, part: float | None) -> None:
    with torch.device("meta"):
        model = asr_build.build_asr(ASRConfig(vocab_size=5000, decoder=decoder))
    assert parameter_count(model) / 1e6 == pytest.approx(whole, rel=0.01)
    if part is not None:
        assert parameter_count(model.decoder) / 1e6 == pytest.approx(part, rel=0.01)
        ssm = model.decoder.layers[0].mixer.layer.layers[0]  # type: ignore[union-attr,index]
        assert sum(p.numel() for p in ssm.parameters()) == pytest.approx(33e3, rel=0.1)


def test_the_decoder_is_built_on_the_kernel_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(S4D):
        pass

    monkeypatch.setitem(KERNELS, "other", Other)
    sizes = {"d_model": 8, "n_layers": 1, "n_heads": 2, "d_ff": 16, "d_state": 4}
    kinds = {kernel: S4Decoder(5, kernel=kernel, **sizes) for kernel in ("s4d", "other")}
    found = {k: type(d.layers[0].mixer.layer.layers[0]) for k, d in kinds.items()}  # type: ignore[union-attr,index]
    assert found == {"s4d": S4D, "other": Other}
    with pytest.raises(ValueError, match=r"^kernel: got 'fourier', wanted one of s4d, s4, other"):
        S4Decoder(5, kernel="fourier", **sizes)
