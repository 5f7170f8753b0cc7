"""Published S4 decoders of ESPnet (`espnet2.asr.decoder.s4_decoder`), their weights moved into ours.

Tensors only: nothing of a checkpoint is run, and ESPnet is not needed. What is known of the format was read
in ESPnet 202511 and checked against its log-probabilities (shared/golden).
"""

import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from s4speech.config.files import read_yaml
from s4speech.errors import InputError
from s4speech.layers import S4, Chain, FeedForward, GatedMix
from s4speech.models.asr.decoder import DecoderLayer, S4Decoder, stack
from s4speech.models.loading import first_line

PUBLISHED_HEADS, NARROWEST_HEAD = 8, 8
KERNEL = "kernel.kernel"
FIRST_KERNEL = f"decoder.layers.0.layer.{KERNEL}.C"
INITS = {1: "legs", 2: "legt"}  # rank of the low-rank part -> an init of ours with that rank


class Sizes(NamedTuple):
    """What the names and shapes of the tensors say."""

    vocab_size: int
    d_model: int
    n_layers: int
    d_ff: int
    d_state: int
    n_ssm: int
    rank: int


class _Saved:
    """The tensors of one decoder by their names in ESPnet's `S4Decoder`; remembers which were taken."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        found = [key for key in weights if key.endswith(FIRST_KERNEL)]
        if len(found) != 1:
            raise InputError(
                f"weights: {len(found)} tensors called ...{FIRST_KERNEL}, wanted one; give the state_dict of "
                "an ESPnet S4Decoder, or of a model with one as its decoder"
            )
        self.prefix = found[0].removesuffix(FIRST_KERNEL)
        self.weights, self.taken = weights, set[str]()

    def take(self, name: str, *shape: int | None) -> Tensor:
        """Tensor `name` as float32; None in `shape` is any size.

        Raises InputError naming the key: it is missing, has another shape, or is not of finite numbers.
        """
        key = self.prefix + name
        if key not in self.weights:
            raise InputError(
                f"weights: tensor {key} is missing; wanted {self._text(shape)}: [S4, mha, ff] x n"
            )
        tensor = self.weights[key]
        if tensor.dim() != len(shape) or any(
            want is not None and got != want for got, want in zip(tensor.shape, shape, strict=True)
        ):
            raise InputError(
                f"weights: tensor {key} has shape {tuple(tensor.shape)}, wanted {self._text(shape)}; "
                "only decoders of [S4, mha, ff] with pre-norm and GLU can be loaded"
            )
        if tensor.is_complex() or not tensor.isfinite().all():
            raise InputError(
                f"weights: tensor {key} has values that are not finite real numbers; copy it again"
            )
        self.taken.add(key)
        return tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else None)

    @staticmethod
    def _text(shape: tuple[int | None, ...]) -> str:
        return "(" + ", ".join("any" if size is None else str(size) for size in shape) + ")"

    def count_layers(self) -> int:
        """The number of [S4, mha, ff]. Raises InputError unless the sub-blocks are whole triples."""
        pattern = re.compile(re.escape(self.prefix) + r"decoder\.layers\.([0-9]{1,6})\.")
        numbers = {int(match[1]) for key in self.weights if (match := pattern.match(key))}
        if len(numbers) % 3 or numbers != set(range(len(numbers))):
            raise InputError(
                f"weights: {len(numbers)} sub-blocks {self.prefix}decoder.layers.N, wanted N from 0 without "
                "gaps and a multiple of 3: [S4, mha, ff] x n"
            )
        return len(numbers) // 3

    def check_all_taken(self) -> None:
        """Raises InputError naming a tensor of the decoder that has no place in ours."""
        parts = tuple(f"{self.prefix}{part}." for part in ("embed", "decoder", "output"))
        left = sorted(key for key in self.weights if key.startswith(parts) and key not in self.taken)
        if left:
            raise InputError(
                f"weights: tensor {left[0]} has no place in our S4 decoder ({len(left)} in all); "
                "only decoders of [S4, mha, ff] with pre-norm and GLU can be loaded"
            )


def load_s4_decoder(
    weights: Mapping[str, Tensor], n_heads: int | None = None, *, averaged: int = 1
) -> S4Decoder:
    """ESPnet's S4 decoder as ours, in eval mode, float32, on the CPU.

    weights: the state_dict of an `S4Decoder`, or of a whole model, whose other parts are not looked at
    (`read_checkpoint` reads one from a file). All sizes come from names and shapes, but for the attention
    heads, which leave no trace in the weights: `n_heads` (`heads_of` reads it from ESPnet's config.yaml);
    None: 8, as published, or fewer so that a head has at least 8 channels.
    averaged: ESPnet averages checkpoints by adding integer tensors up, so in a valid.acc.ave_10best.pth the
    length that C is stored for is ten times too long, and ESPnet itself decodes with that. 1 does what
    ESPnet does; 10 divides it again.
    Raises InputError naming the tensor that is missing, unknown, of another shape or not finite, or n_heads.
    """
    saved = _Saved(weights)
    sizes = _sizes(saved)
    if sizes.rank not in INITS:
        raise InputError(f"weights: low-rank part of rank {sizes.rank}, wanted 1 or 2")
    heads = default_heads(sizes.d_model) if n_heads is None else n_heads
    if heads < 1 or sizes.d_model % heads:
        raise InputError(f"n_heads: got {heads}, wanted a divisor of d_model {sizes.d_model}")
    if averaged < 1:
        raise InputError(f"averaged: got {averaged}, wanted the number of checkpoints in the average, >= 1")
    decoder = S4Decoder(
        sizes.vocab_size,
        sizes.d_model,
        sizes.n_layers,
        heads,
        sizes.d_ff,
        kernel="s4",
        d_state=sizes.d_state,
        n_ssm=sizes.n_ssm,
        init=INITS[sizes.rank],
    )
    with torch.no_grad():
        _copy(saved, "embed", decoder.embedding)
        for number, layer in enumerate(stack(decoder)):
            _load_layer(saved, [f"decoder.layers.{3 * number + i}" for i in range(3)], layer, averaged)
        _copy(saved, "decoder.norm.norm", decoder.norm)
        _copy(saved, "output", decoder.output)
    saved.check_all_taken()
    return decoder.eval()


def default_heads(d_model: int) -> int:
    """8 attention heads, as published, or the most that have 8 channels each."""
    most = max(1, min(PUBLISHED_HEADS, d_model // NARROWEST_HEAD))
    return next(heads for heads in range(most, 0, -1) if d_model % heads == 0)


def _sizes(saved: _Saved) -> Sizes:
    first = f"decoder.layers.0.layer.{KERNEL}"
    vocab_size, d_model = saved.take("embed.weight", None, None).shape
    rank, n_ssm, pairs, _ = saved.take(f"{first}.P", None, None, None, 2).shape
    if n_ssm < 1 or d_model % n_ssm:
        raise InputError(
            f"weights: {saved.prefix}{first}.P is of {n_ssm} SSMs, wanted a divisor of {d_model}"
        )
    n_layers = saved.count_layers()
    d_ff = saved.take("decoder.layers.2.layer.ff.0.0.weight", None, d_model).shape[0]
    return Sizes(vocab_size, d_model, n_layers, d_ff, 2 * pairs, n_ssm, rank)


def _copy(saved: _Saved, name: str, module: torch.nn.Module) -> None:
    """Every parameter of `module` from `name`.weight, `name`.bias."""
    for key, parameter in module.named_parameters(recurse=False):
        parameter.copy_(saved.take(f"{name}.{key}", *parameter.shape))


def _load_layer(saved: _Saved, names: list[str], layer: DecoderLayer, averaged: int) -> None:
    """Sub-blocks `names`: S4 with its mix, cross-attention, feed-forward."""
    s4, cross, feed_forward = names
    chain, net = layer.mixer.layer, layer.feed_forward.layer
    assert isinstance(chain, Chain) and isinstance(net, FeedForward)
    kernel, mix = chain.layers
    assert isinstance(kernel, S4) and isinstance(mix, GatedMix)
    _load_kernel(saved, f"{s4}.layer", kernel, averaged)
    _copy(saved, f"{s4}.layer.output_linear.0", mix.project)
    _copy(saved, f"{s4}.norm.norm", layer.mixer.norm)
    for name, module in (
        ("q", layer.cross.query),
        ("k", layer.cross.key),
        ("v", layer.cross.value),
        ("out", layer.cross.project_out),
    ):
        _copy(saved, f"{cross}.layer.linear_{name}", module)
    _copy(saved, f"{cross}.norm.norm", layer.cross_norm)
    _copy(saved, f"{feed_forward}.layer.ff.0.0", net.net[0])
    _copy(saved, f"{feed_forward}.layer.ff.2", net.net[-1])
    _copy(saved, f"{feed_forward}.norm.norm", layer.feed_forward.norm)


def _load_kernel(saved: _Saved, name: str, layer: S4, averaged: int) -> None:
    """One kernel: A = -exp(inv_w_real) + i w_imag - P P^*, complex numbers as pairs on the last axis."""
    kernel = f"{name}.{KERNEL}"
    layer.log_a_real.copy_(saved.take(f"{kernel}.inv_w_real", *layer.log_a_real.shape))
    layer.a_imag.copy_(saved.take(f"{kernel}.w_imag", *layer.a_imag.shape))
    layer.p.copy_(saved.take(f"{kernel}.P", *layer.p.shape))
    layer.b.copy_(saved.take(f"{kernel}.B", 1, *layer.b.shape)[0])
    layer.log_dt.copy_(saved.take(f"{kernel}.log_dt", layer.d_model).unsqueeze(-1))
    layer.c.copy_(saved.take(f"{kernel}.C", *layer.c.shape))
    layer.d.copy_(saved.take(f"{name}.D", 1, layer.d_model)[0])
    stored = int(saved.take(f"{kernel}.L"))
    if stored < 0 or stored % averaged:
        raise InputError(
            f"weights: tensor {saved.prefix}{kernel}.L is {stored}, wanted a multiple of averaged {averaged}"
        )
    if stored:
        layer.c.copy_(_undo_length(layer, stored // averaged))
        if not layer.c.isfinite().all():
            raise InputError(f"weights: C of {saved.prefix}{kernel} cannot be had from C~ of length {stored}")


def _undo_length(layer: S4, length: int) -> Tensor:
    """C from C~ = C (1 - A_bar^length), which is what `layer.c` holds; (1, H, N / 2, 2), float64.

    The generating function of a kernel cut at `length` needs C~ alone, so that is what S4 trains once it has
    seen a sequence (Gu et al. 2022, appendix C.3). The recurrence needs C.
    """
    a_bar, _, readout = layer.discrete(1.0)  # readout (1, H, N): 2 conj(C~) as reals, y = readout . x
    one = torch.eye(a_bar.shape[-1], dtype=a_bar.dtype)
    cut = one - torch.linalg.matrix_power(a_bar, length)
    solved, _ = torch.linalg.solve_ex(
        cut.mT, readout[0].unsqueeze(-1)
    )  # singular: infinite, found by the caller
    pairs = solved.squeeze(-1).unflatten(-1, (-1, 2)) / 2
    conjugated: Tensor = pairs * torch.tensor([1.0, -1.0], dtype=pairs.dtype)
    return conjugated.unsqueeze(0)


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of what `torch.save` wrote (.pth): a state_dict, or ESPnet's
    checkpoint.pth with one under "model".

    torch.load runs with weights_only, which makes tensors and plain containers and nothing else.
    Raises InputError: not such a file.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; wanted a .safetensors or .pth with the weights")
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        KeyError,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(
            f"{path}: cannot be read as tensors alone ({first_line(error)}); save its state_dict as "
            ".safetensors"
        ) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        loaded = loaded["model"]
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, wanted a state_dict of tensors by name")
    return {str(key): value for key, value in loaded.items() if isinstance(value, Tensor)}


# Options of ESPnet's decoder that leave no trace in the weights, and their only value that ours has.
SILENT_DECODER = {"prenorm": True, "transposed": False, "pool": None, "input_layer": "embed"}
SILENT_LAYER: dict[str, dict[str, Any]] = {
    "s4": {"activation": "gelu", "postact": "glu", "real_type": "exp", "bandlimit": None, "mode": "nplr"},
    "mha": {},
    "ff": {"activation": "gelu"},
}


def heads_of(config: Path) -> int:
    """The number of attention heads of the S4 decoder in an ESPnet config.yaml, for `load_s4_decoder`.

    Raises InputError: another decoder, or options that change what it computes and that ours lacks.
    """
    data = read_yaml(config)
    decoder = data.get("decoder_conf")
    layers = decoder.get("layer") if isinstance(decoder, dict) else None
    layers = [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []
    names = [layer.get("_name_") for layer in layers]
    if data.get("decoder") != "s4" or not isinstance(decoder, dict) or names != list(SILENT_LAYER):
        raise InputError(f"{config}: decoder {data.get('decoder')} of {names}, wanted s4 of [s4, mha, ff]")
    for where, found, wanted in (
        ("decoder_conf", decoder, SILENT_DECODER),
        *(
            (f"decoder_conf.layer {name}", layer, SILENT_LAYER[name])
            for name, layer in zip(names, layers, strict=True)
        ),
    ):
        for key, value in wanted.items():
            if found.get(key, value) != value:
                raise InputError(
                    f"{config}: {where}.{key}: got {found[key]}, wanted {value}; no layer of ours does it"
                )
    heads = layers[1].get("n_head")
    if not isinstance(heads, int) or heads < 1:
        raise InputError(f"{config}: decoder_conf.layer mha.n_head: got {heads}, wanted a number >= 1")
    return heads
