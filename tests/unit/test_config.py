import enum
import math
from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, field_validator

from s4speech.config import StrictModel, dump_config, load_config
from s4speech.errors import InputError


class Kind(enum.Enum):
    BPE = "bpe"
    CHAR = "char"


class S4Decoder(StrictModel):
    kind: Literal["s4"] = "s4"
    d_state: int = 64


class TransformerDecoder(StrictModel):
    kind: Literal["transformer"] = "transformer"
    heads: int = 4


class Train(StrictModel):
    lr: float = Field(1e-3, gt=0)
    betas: tuple[float, float] = (0.9, 0.98)
    max_steps: int = 100
    bf16: bool = True

    @field_validator("max_steps")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("wanted an even number of steps")
        return value


class Recipe(StrictModel):
    data_dir: Path
    name: str = "x"
    unit: Kind = Kind.BPE
    train: Train = Train()
    decoder: Annotated[S4Decoder | TransformerDecoder, Field(discriminator="kind")] = S4Decoder()
    cap_s: float | None = None
    splits: dict[str, Train] = {}
    lines: list[S4Decoder] = []


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "recipe.yaml", "data_dir: corpora/a\ntrain:\n  lr: 2e-3\n  max_steps: 10\n")


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load_config(Recipe, path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_values_defaults_and_types(file: Path) -> None:
    config = load_config(Recipe, file, ["unit=char", "train.betas=[0.9, 1]", "cap_s=20"])
    assert config.data_dir == Path("corpora/a")
    assert config.train == Train(lr=0.002, max_steps=10, betas=(0.9, 1.0))
    assert config.unit is Kind.CHAR
    assert config.cap_s == 20.0 and isinstance(config.cap_s, float)
    assert config.decoder == S4Decoder()


def test_a_config_is_immutable(file: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(Recipe, file).train.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", ".001", "+1e-3", "1_000e-6", "10.0e-4"])
def test_every_spelling_of_a_float(file: Path, text: str) -> None:
    assert load_config(Recipe, file, [f"train.lr={text}"]).train.lr == pytest.approx(1e-3)


def test_infinity_survives(file: Path, tmp_path: Path) -> None:
    config = load_config(Recipe, file, ["cap_s=.inf"])
    assert config.cap_s == math.inf
    assert load_config(Recipe, write(tmp_path / "dumped.yaml", dump_config(config))) == config


def test_later_overrides_win_and_sections_are_replaced_as_a_whole(file: Path) -> None:
    config = load_config(Recipe, file, ["train.lr=1", "train.lr=2", "decoder={kind: transformer, heads: 8}"])
    assert config.train.lr == 2.0
    assert config.decoder == TransformerDecoder(heads=8)
    assert load_config(Recipe, file, ["train={lr: 5}"]).train == Train(lr=5)
    assert load_config(Recipe, file, ["name=a=b"]).name == "a=b"


@pytest.mark.parametrize(
    ("override", "wanted"),
    [
        ("train.lr=fast", "train.lr: got 'fast' (str), wanted a number"),
        ("train.lr=-1", "train.lr: got -1 (int), wanted greater than 0"),
        ("train.lr=true", "train.lr: got True (bool)"),
        ("train.max_steps='4'", "train.max_steps: got '4' (str), wanted a"),
        ("train.max_steps=4.0", "train.max_steps: got 4.0 (float), wanted a"),
        ("train.max_steps=3", "train.max_steps: got 3 (int): wanted an even number"),
        ("train.bf16=1", "train.bf16: got 1 (int), wanted a"),
        ("train.betas=[1]", "train.betas: got a list of 1, wanted a longer one"),
        ("train=4", "train: got 4 (int), wanted a section"),
        ("train.LR=1", "train.LR: unknown key; did you mean 'lr'?"),
        ("trian={lr: 1}", "trian: unknown key; did you mean 'train'?"),
        ("qqq=1", "qqq: unknown key; wanted one of: cap_s, data_dir"),
        ("decoder={kind: s4, heads: 3}", "decoder.heads: unknown key; wanted one of: d_state, kind"),
        ("decoder={kind: s4, d_stat: 3}", "decoder.d_stat: unknown key; did you mean 'd_state'?"),
        ("decoder={kind: s4, d_state: x}", "decoder.d_state: got 'x' (str)"),
        ("decoder.kind=lstm", "decoder.kind: got 'lstm', wanted one of: 's4', 'transformer'"),
        ("splits.dev.max_step=3", "splits.dev.max_step: unknown key; did you mean 'max_steps'?"),
        ("lines=[{d_state: 1}, {dstate: 2}]", "lines.1.dstate: unknown key; did you mean 'd_state'?"),
        ("unit=word", "unit: got 'word' (str), wanted 'bpe' or 'char'"),
        ("train.lr.x=3", "train.lr is 0.002 (float), wanted a section"),
        ("train", "wanted key=value"),
        ("train..lr=1", "wanted key=value"),
        ("train.lr=[", "invalid YAML"),
        ("name=!!python/object/apply:os.getcwd []", "invalid YAML"),
    ],
)
def test_bad_override_names_itself_the_key_and_what_was_wanted(
    file: Path, override: str, wanted: str
) -> None:
    text = message(file, override)
    assert text.startswith(f"override {override!r}")
    assert wanted in text


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("name: a\n", ": data_dir: missing"),
        ("data_dir: a\ntrain: {lr: x}\n", ": train.lr: got 'x' (str), wanted a number"),
        ("data_dir: a\ndecoder: {d_state: 3}\n", ": decoder.kind: missing"),
        ("data_dir: a\nfoo: 1\nbar: 2\nbaz: 3\n", "(and 2 more errors)"),
        ("data_dir: a\ndata_dir: b\n", ", line 2: got invalid YAML (key 'data_dir' is given twice)"),
        ("data_dir: &a b\nname: *a\n", ", line 2: got invalid YAML (anchors and aliases are not read"),
        ("data_dir: [\n", "invalid YAML"),
        ("\tdata_dir: a\n", ", line 1: got invalid YAML"),
        ("? [a]\n: 1\n", "is not text"),
        ("1: a\n", "is not text; put it in quotes"),
        ("- a\n", "got a list, wanted `key: value` lines"),
        ("data_dir: \x07\n", "invalid YAML"),
        ("[" * 5000, "invalid YAML"),
        ("data_dir: !!binary aGk=\n", "no configuration holds"),
        ("extends: none.yaml\n", "none.yaml (extended by"),
        ("extends: recipe.yaml\n", "extends itself"),
        ("extends: {a: b}\n", "extends: got a section, wanted a path or a list of paths"),
    ],
)
def test_bad_file_is_named(file: Path, content: str, wanted: str) -> None:
    text = message(write(file, content))
    assert str(file) in text
    assert wanted in text


def test_unreadable_files(tmp_path: Path) -> None:
    assert "no such file" in message(tmp_path / "none.yaml")
    assert "cannot be read" in message(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\xfe\n")
    assert "cannot be read as UTF-8" in message(tmp_path / "latin.yaml")


def test_extends_merges_sections_in_order_and_replaces_lists(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf/base.yaml", "train: {lr: 1.0, max_steps: 2}\nname: base\nlines: [{d_state: 1}]\n")
    write(tmp_path / "conf/small.yaml", "extends: base.yaml\ntrain: {max_steps: 4}\n")
    write(tmp_path / "conf/data.yaml", "data_dir: d\nname: data\n")
    path = write(
        tmp_path / "recipe.yaml",
        "extends: [conf/small.yaml, conf/data.yaml]\ntrain: {bf16: false}\nlines: [{d_state: 2}]\n",
    )
    config = load_config(Recipe, path, ["train.lr=3"])
    assert config.train == Train(lr=3, max_steps=4, bf16=False)
    assert (config.name, config.data_dir, config.lines) == ("data", Path("d"), [S4Decoder(d_state=2)])


TRICKY = [
    "1e-3",
    "2024-01-31",
    "no",
    "null",
    "~",
    "1",
    "0x1f",
    "a: b",
    "<<",
    "",
    " x",
    "*a",
    ".inf",
    "1_0",
    "日本",
]


@pytest.mark.parametrize("name", TRICKY)
def test_dump_then_load_keeps_text_that_looks_like_something_else(tmp_path: Path, name: str) -> None:
    config = Recipe(data_dir=Path("a"), name=name, train=Train(lr=1e-20))
    assert load_config(Recipe, write(tmp_path / "dumped.yaml", dump_config(config))) == config


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["C"])), lr=st.floats(1e-300, 1e300))
def test_dump_then_load_is_the_same(tmp_path_factory: pytest.TempPathFactory, name: str, lr: float) -> None:
    config = Recipe(data_dir=Path("a"), name=name, train=Train(lr=lr), splits={"dev": Train(lr=lr)})
    path = tmp_path_factory.getbasetemp() / "dumped.yaml"
    assert load_config(Recipe, write(path, dump_config(config))) == config
    assert yaml.safe_load(dump_config(config))["name"] == name  # and other YAML readers agree
