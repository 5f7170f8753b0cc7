"""A model directory: what is saved is loaded, and everything wrong with one is said in a line."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from s4speech.config.asr import ASRConfig, ConformerConfig, FeatureConfig, S4DecoderConfig
from s4speech.errors import InputError
from s4speech.models.asr.build import build_asr
from s4speech.models.directory import FILES
from s4speech.models.loading import save_tensors
from s4speech.models.package import ASRPackageConfig, DecodeConfig, load_asr, save_asr
from s4speech.text.tokenizer import Tokenizer

SIZE = {"d_model": 8, "n_heads": 2, "d_ff": 16, "n_layers": 1}


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small package; read only."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer.train(["ab ba abba"], folder.parent / "tokenizer.model", 6, "char")
    config = ASRPackageConfig(
        model=ASRConfig(
            features=FeatureConfig(n_mels=20),
            encoder=ConformerConfig(subsampling="conv1d", kernel_size=3, **SIZE),
            decoder=S4DecoderConfig(d_state=4, **SIZE),
            vocab_size=tokenizer.vocab_size,
        ),
        decode=DecodeConfig(beam=3),
    )
    torch.manual_seed(0)
    model = build_asr(config.model)
    model.set_statistics(torch.randn(20), torch.rand(20) + 0.5)
    save_asr(folder, config, model, folder.parent / "tokenizer.model", "# A card\n")
    return folder


@pytest.fixture
def folder(packaged: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(packaged, tmp_path / "copy"))


def test_who_may_read_files_may_read_weights(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_tensors(tmp_path / "a.safetensors", {"a": torch.zeros(2)})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_is_saved_is_loaded(packaged: Path) -> None:
    assert {path.name for path in packaged.iterdir()} == {*FILES, "README.md"}
    torch.manual_seed(1)  # fresh weights are not the saved ones
    package = load_asr(str(packaged))
    assert package.config.decode.beam == 3 and package.config.task == "asr"
    assert package.frame_shift_s == 0.04
    assert package.tokenizer.decode(package.tokenizer.encode("abba ab")) == "abba ab"
    assert not package.model.training and not any(p.requires_grad for p in package.model.parameters())

    torch.manual_seed(0)
    original = build_asr(package.config.model)
    original.set_statistics(torch.randn(20), torch.rand(20) + 0.5)
    got, wanted = package.model.state_dict(), original.state_dict()
    assert got.keys() == wanted.keys() and len(got) > 30
    assert all(torch.equal(got[name], wanted[name]) and got[name].dtype == wanted[name].dtype for name in got)
    features, lengths = torch.randn(1, 50, 20), torch.tensor([50])
    with torch.no_grad():
        for a, b in zip(
            package.model.encode(features, lengths), original.eval().encode(features, lengths), strict=True
        ):
            assert torch.equal(a, b)


def test_loading_leaves_the_default_random_numbers_and_device_alone(packaged: Path) -> None:
    with torch.device("meta"):  # a caller's context
        assert next(load_asr(packaged).model.parameters()).device.type == "cpu"


def fails(folder: Path, *wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        load_asr(folder)
    line = str(caught.value)
    assert "\n" not in line and len(line) < 400
    for part in wanted:
        assert part in line, line


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    fails(folder, str(folder / name), "no such file")


@pytest.mark.parametrize("d_model", [2**40, 10**30])
def test_sizes_that_no_memory_holds(folder: Path, d_model: int) -> None:
    path = folder / "config.yaml"
    path.write_text(path.read_text().replace("d_model: 8", f"d_model: {d_model}"))
    fails(folder, str(path))


def test_a_missing_directory_and_a_file_for_a_directory_are_named(folder: Path) -> None:
    fails(folder / "nowhere", str(folder / "nowhere"), "no such directory")
    fails(folder / "README.md", "README.md", "no such directory")


@pytest.mark.parametrize("name", ["model.safetensors", "stats.safetensors"])
@pytest.mark.parametrize("keep", [0, 4, 100, -10])
def test_a_truncated_or_foreign_tensor_file_is_named(folder: Path, name: str, keep: int) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:keep])
    fails(folder, str(folder / name), "not a safetensors file")
    (folder / name).write_bytes(b"PK\x03\x04 a pickle, perhaps" * 20)
    fails(folder, str(folder / name), "not a safetensors file")


def test_a_truncated_tokenizer_is_named(folder: Path) -> None:
    data = (folder / "tokenizer.model").read_bytes()
    (folder / "tokenizer.model").write_bytes(data[: len(data) // 3])
    fails(folder, str(folder / "tokenizer.model"))


def change_tensors(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize(
    "name, change, wanted",
    [
        ("model.safetensors", lambda t: t.update(extra=torch.zeros(2)), "unknown tensor extra"),
        ("model.safetensors", lambda t: t.pop("ctc.bias"), "tensor ctc.bias is missing"),
        ("model.safetensors", lambda t: t.update({"ctc.bias": torch.zeros(9)}), "ctc.bias has shape (9,)"),
        ("stats.safetensors", lambda t: t.pop("mean"), "tensor mean is missing"),
        ("stats.safetensors", lambda t: t.update(mean=torch.zeros(3)), "tensor mean has shape (3,)"),
        ("stats.safetensors", lambda t: t.update(extra=torch.zeros(2)), "unknown tensor extra"),
        # weights that hide in the other file would take the place of the model's
        ("stats.safetensors", lambda t: t.update({"ctc.bias": torch.zeros(6)}), "unknown tensor ctc.bias"),
    ],
)  # fmt: skip
def test_foreign_tensors_are_named_with_their_file(
    folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object], wanted: str
) -> None:
    change_tensors(folder / name, change)
    fails(folder, f"{folder / name}: ", wanted)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("name", "tensor"), [("model.safetensors", "ctc.weight"), ("stats.safetensors", "mean")]
)
def test_weights_that_are_no_numbers_are_named(folder: Path, name: str, tensor: str, value: float) -> None:
    change_tensors(folder / name, lambda tensors: tensors[tensor].view(-1)[-1].fill_(value))
    fails(folder, f"{folder / name}: tensor {tensor} has NaN or infinite values")


def test_another_models_tokenizer_is_named(folder: Path) -> None:
    Tokenizer.train(["abc cab"], folder / "tokenizer.model", 7, "char")
    fails(folder, str(folder / "tokenizer.model"), "7 pieces", "6")


def change_config(folder: Path, *path: str, value: object) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    node = config
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    "path, value, wanted",
    [
        (("model", "encoder", "d_modle"), 8, "model.encoder.d_modle: unknown key; did you mean 'd_model'?"),
        (("model", "encoder", "d_model"), "8", "model.encoder.d_model: got '8'"),
        (("model", "decoder", "type"), "lstm", "model.decoder.type: got 'lstm'"),
        (("model", "encoder", "n_heads"), 3, "n_heads: got 3, wanted a divisor of d_model 8"),
        (("model", "encoder", "kernel_size"), 4, "kernel_size: got 4"),
        (("model", "features", "n_fft"), 64, "n_fft: got 64"),
        (("model", "decoder", "d_state"), 7, "d_state: got 7"),
        (("model", "vocab_size"), None, "tokenizer.model"),
        (("decode", "beam"), 0, "decode.beam"),
        (("decode", "ctc_weight"), 1.5, "decode.ctc_weight"),
        (("task",), "tts", "task: got 'tts'"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_named_with_its_key(
    folder: Path, path: tuple[str, ...], value: object, wanted: str
) -> None:
    change_config(folder, *path, value=value)
    fails(folder, str(folder), wanted)


def test_a_configuration_of_another_size_names_a_tensor(folder: Path) -> None:
    change_config(folder, "model", "encoder", "d_ff", value=32)
    fails(folder, "model.safetensors", "has shape", "belongs to another model")


def test_a_configuration_that_is_no_yaml_is_named(folder: Path) -> None:
    (folder / "config.yaml").write_text("model: [1, 2\n")
    fails(folder, str(folder / "config.yaml"))


def test_nothing_in_the_directory_is_executed(folder: Path) -> None:
    hit = folder / "hit"
    (folder / "config.yaml").write_text(f"model: !!python/object/apply:os.mkdir ['{hit}']\n")
    fails(folder, str(folder / "config.yaml"))
    assert not hit.exists()
    assert not re.search(r"\bpickle\b|torch\.load\b", Path("s4speech/models/package.py").read_text())
