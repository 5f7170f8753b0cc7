"""The full-size recipes, made small, on small corpora that are published as the real ones are.

Archives, layout and names of parts are theirs. What runs is the YAML that is shipped; only sizes, paths and
numbers of epochs are set.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
import soundfile

from s4speech.data import archives
from tests.e2e.corpus import RATE, WORDS, speak
from tests.file_server import Server, serving
from tests.sphere import write_sphere

Run = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.slow
LM_TEXT = "librispeech-lm-norm.txt.gz"
SMALL = ("d_model=16", "n_layers=1", "n_heads=2", "d_ff=32")
ASR = [
    *(f"model.{part}.{size}" for part in ("encoder", "decoder") for size in SMALL),
    "model.encoder.kernel_size=7", "model.decoder.d_state=8", "tokenizer.vocab_size=20", "train.epochs=1",
    "train.validate_every=1", "train.max_duration_s=10", "train.accumulate=2", "train.workers=0",
    "train.accelerator=cpu", "train.warmup_steps=2", "decode.beam=2", "decode.device=cpu",
]  # fmt: skip
LM = [
    *(f"model.{size}" for size in SMALL), "text.length=16", "text.block=2", "text.hold_out=5",
    "train.epochs=1", "train.batch_size=4", "train.accumulate=2", "train.workers=0", "train.accelerator=cpu",
    "train.keep=1", "train.warmup_steps=2", "evaluate.device=cpu",
]  # fmt: skip


def texts(seed: int, count: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(2, 5))) for _ in range(count)]


def librispeech_part(part: str, number: int) -> bytes:
    """PART.tar.gz with two utterances of each of two speakers, and a file beside the parts."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

        add("LibriSpeech/README.TXT", b"tones")
        for speaker in (100 + 2 * number, 101 + 2 * number):
            chosen = texts(speaker, 2)
            folder = f"LibriSpeech/{part}/{speaker}/1"
            for row, text in enumerate(chosen):
                audio = io.BytesIO()
                samples = speak(text, speaker, np.random.default_rng(speaker))
                soundfile.write(audio, samples, RATE, format="FLAC")
                add(f"{folder}/{speaker}-1-{row:04d}.flac", audio.getvalue())
            lines = "".join(f"{speaker}-1-{row:04d} {text}\n" for row, text in enumerate(chosen))
            add(f"{folder}/{speaker}-1.trans.txt", lines.encode())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Archives and text by name."""
    parts = [part for part, (resource, *_) in archives.LIBRISPEECH.items() if resource == 12]
    found = {f"{part}.tar.gz": librispeech_part(part, number) for number, part in enumerate(parts)}
    text = "".join(f"{line}\n" for line in texts(7, 200)).encode()
    packer = zlib.compressobj(wbits=31)  # gzip without a time
    return found | {LM_TEXT: packer.compress(text) + packer.flush()}


@pytest.fixture
def published(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The site, with the checksums of what it has."""
    for part, (resource, _, _) in archives.LIBRISPEECH.items():
        content = files.get(f"{part}.tar.gz", b"")
        row = (resource, md5(content).hexdigest(), len(content))
        monkeypatch.setitem(archives.LIBRISPEECH, part, row)
    one = replace(archives.TEXTS[LM_TEXT], checksum=f"md5:{md5(files[LM_TEXT]).hexdigest()}")
    monkeypatch.setitem(archives.TEXTS, LM_TEXT, one)
    with serving(dict(files)) as server:
        yield server


def done(result: tuple[int, str, str]) -> str:
    code, output, errors = result
    assert code == 0, errors
    return output


def scored(exp_dir: Path) -> dict[str, set[str]]:
    """Part -> the decodings that the score stage has an error rate of."""
    found: dict[str, set[str]] = {}
    for key in json.loads((exp_dir / "score" / "results.json").read_text()):
        part, _, decoding = key.partition("/")
        found.setdefault(part, set()).add(decoding)
    return found


def test_librispeech_from_the_archives_to_the_scores_with_language_models(
    published: Server, tmp_path: Path, recipes_here: Run
) -> None:
    """The README's three commands: download, prepare and train; the language models; decode."""
    exp, root = tmp_path / "exp", tmp_path / "data" / "LibriSpeech"
    site = ["download=true", f"mirror={published.url('')}"]
    lms = {kind: tmp_path / kind for kind in ("s4", "transformer", "ngram")}
    paths = ", ".join(
        f"{kind}: {{path: {place}/package/librispeech-lm-{kind}, weight: 0.6}}" for kind, place in lms.items()
    )
    asr = ["egs/librispeech/asr/recipe.yaml", *ASR, f"corpus.root={root}", f"exp_dir={exp}", *site]
    asr += [f"decode.lms={{{paths}}}"]
    output = done(recipes_here(*asr, "--stop-stage", "average"))
    assert sorted(path.name for path in root.iterdir()) == sorted(
        ["README.TXT", *(name.removesuffix(".tar.gz") for name in published.files if name != LM_TEXT)]
    )
    assert "download: [7/7]" in output and len(published.asked) == 7
    text = tmp_path / "data" / LM_TEXT
    for kind, place in lms.items():
        sizes = LM if kind == "transformer" else [one for one in LM if "n_heads" not in one]
        if kind == "ngram":
            sizes = [*(one for one in LM if one.startswith("text.")), "model.order=3", "model.prune=[0]"]
        here = [f"tokenizer={exp}/tokenizer/tokenizer.model", f"text.path={text}", f"exp_dir={place}"]
        done(recipes_here(f"egs/librispeech/lm/{kind}.yaml", *sizes, *here, *site, recipe="lm"))
    output = done(recipes_here(*asr))
    assert "download: everything is there" in output and "train: skip" in output
    assert len(published.asked) == 8  # the text, once
    found = scored(exp)
    assert set(found) == {"dev-clean", "dev-other", "test-clean", "test-other"}
    for decodings in found.values():  # joint without and with each language model
        assert len(decodings) == 5 and "ctc_greedy" in decodings, decodings


@pytest.mark.parametrize("config", ["recipe_100h.yaml", "streaming.yaml"])
def test_the_other_full_size_recipes_of_librispeech(
    published: Server, tmp_path: Path, recipes_here: Run, config: str
) -> None:
    root, exp = tmp_path / "LibriSpeech", tmp_path / "exp"
    site = ["download=true", f"mirror={published.url('')}", f"corpus.root={root}", f"exp_dir={exp}"]
    sizes = [*ASR, "streaming.chunks_ms=[640]", "streaming.groups=[1, 2]", "streaming.parts=[dev-clean]"]
    done(recipes_here(f"egs/librispeech/asr/{config}", *sizes, *site))
    assert len(published.asked) == (5 if "100h" in config else 7)
    assert (exp / "score" / "done.json").exists() and list((exp / "package").glob("*/model.safetensors"))


def test_an4(tmp_path: Path, recipes_here: Run) -> None:
    root, number = tmp_path / "an4", 0
    (root / "etc").mkdir(parents=True)
    for part, folder, speakers in (
        ("train", "an4_clstk", ("fbbh", "mblw", "mgah", "fash")),
        ("test", "an4test_clstk", ("fcaw", "mjwl")),
    ):
        lines = []
        for speaker in speakers:
            (root / "wav" / folder / speaker).mkdir(parents=True)
            for text in texts(number, 4):
                name = f"an{number}-{speaker}-b"
                samples = speak(text, number, np.random.default_rng(number))
                audio = root / "wav" / folder / speaker / f"{name}.sph"
                write_sphere(audio, (samples * 2**14).astype(np.int16), RATE)
                lines.append(f"<s> {text} </s> ({name})" if part == "train" else f"{text} ({name})")
                number += 1
        (root / "etc" / f"an4_{part}.transcription").write_text("\n".join(lines) + "\n")
    sizes = [one for one in ASR if "vocab_size" not in one]
    exp = tmp_path / "exp"
    here = [f"corpus.root={root}", f"exp_dir={exp}", "corpus.valid_speakers=[fbbh]"]
    done(recipes_here("egs/an4/asr/recipe.yaml", *sizes, *here))
    assert scored(exp) == {"test": {"ctc_greedy", "joint"}}
