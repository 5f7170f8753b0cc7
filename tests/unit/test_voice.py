"""A voice directory: what is saved is loaded, and everything wrong with one is said in a line."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from s4speech.cli.main import main
from s4speech.models.directory import FILES, VOICE_FILES, task_of
from s4speech.models.voice import load_voice
from s4speech.streaming.pretrained import find_model
from s4speech.text.phonemes import SYMBOLS
from tests.conftest import message
from tests.tiny_voice import CARD, tiny_config, tiny_models, tiny_voice


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice; read only."""
    return tiny_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def test_what_is_saved_is_loaded(saved: Path) -> None:
    assert {path.name for path in saved.iterdir()} == {*VOICE_FILES, "README.md"}
    assert (saved / "README.md").read_text() == CARD and task_of(saved) == "tts"
    torch.manual_seed(1)  # fresh weights are not the saved ones
    voice = load_voice(str(saved))
    assert voice.config == tiny_config()
    for got, wanted in zip((voice.model, voice.vocoder), tiny_models(tiny_config()), strict=True):
        assert not got.training and not any(p.requires_grad for p in got.parameters())
        assert got.state_dict().keys() == wanted.state_dict().keys()
        for name, value in wanted.state_dict().items():
            assert torch.equal(got.state_dict()[name], value), name


def test_half_of_the_bytes_but_whole_statistics(saved: Path, tmp_path: Path) -> None:
    half = tiny_voice(tmp_path / "half", half=True)
    for name in ("model.safetensors", "vocoder.safetensors"):
        assert (half / name).stat().st_size < 0.7 * (saved / name).stat().st_size
    got, wanted = load_voice(half), load_voice(saved)
    assert got.config == wanted.config.model_copy(update={"half": True})
    assert torch.equal(got.model.pitch, wanted.model.pitch)
    for name, value in wanted.model.state_dict().items():
        assert got.model.state_dict()[name].dtype == value.dtype
        torch.testing.assert_close(got.model.state_dict()[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", VOICE_FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{folder / name}: no such file" in message(lambda: load_voice(folder))


@pytest.mark.parametrize("name", ["model.safetensors", "vocoder.safetensors"])
def test_a_damaged_or_foreign_tensor_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    tensors = {key: value.clone() for key, value in load_file(path).items()}  # not of the file any more
    spoiled: list[tuple[Callable[[], object], str]] = [
        (lambda: path.write_bytes(b"PK\x03\x04 a pickle, perhaps" * 20), "not a safetensors file"),
        (lambda: save_file(tensors | {"extra": torch.zeros(1)}, path), "unknown tensor extra"),
        (lambda: save_file(tensors | {"mean": torch.full((20,), torch.nan)}, path), "mean has NaN"),
        (lambda: save_file(tensors | {"mean": torch.zeros(3)}, path), "mean has shape (3,)"),
        (lambda: save_file({k: v for k, v in tensors.items() if k != "mean"}, path), "mean is missing"),
    ]
    for spoil, wanted in spoiled:
        spoil()
        error = message(lambda: load_voice(folder))
        assert str(path) in error and wanted in error


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"symbols": list(SYMBOLS[:-1])}, f"symbols: {SYMBOLS[-1]!r} is missing"),
        ({"symbols": [*SYMBOLS, "b"]}, "'b' is there twice, wanted each once"),
        ({"speakers": []}, "speakers"),
        ({"unit": "letters"}, "unit: got 'letters'"),
        ({"tokens": 3}, "tokens: unknown key"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_key(
    folder: Path, change: dict[str, object], wanted: str
) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | change))
    error = message(lambda: load_voice(folder))
    assert str(path) in error and wanted in error


def test_the_wrong_kind_of_directory_says_what_it_is_for(saved: Path, tmp_path: Path) -> None:
    assert "s4speech synthesize" in message(lambda: find_model(saved))
    for name in FILES:
        (tmp_path / name).touch()
    (tmp_path / "config.yaml").write_text("task: asr\n")
    for load in (load_voice, lambda folder: find_model(folder, "tts")):
        error = message(lambda load=load: load(tmp_path))  # type: ignore[misc]
        assert "task: got 'asr', a recognition model; wanted 'tts'" in error
        assert "s4speech transcribe" in error
    assert find_model(tmp_path) == tmp_path
    assert find_model(tmp_path, None) == tmp_path and find_model(saved, None) == saved


def test_models_describes_it(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["models", str(saved)])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert end.value.code == 0
    assert (
        ["speakers", "ann, bob"] in lines and ["license", "cc0-1.0"] in lines and ["data", "nothing"] in lines
    )
