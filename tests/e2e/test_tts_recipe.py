"""The synthesis recipe on tones: two voices through every stage, what runs again, and what is bad input."""

import json
import re
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from s4speech import Synthesizer
from tests.conftest import Experiment, snapshot

Run = Callable[..., tuple[int, str, str]]
RATE = 16000
FORMANTS_HZ = {"one": (500, 1500), "two": (300, 2300), "three": (700, 1100)}
PITCH_HZ = {"low": 120.0, "high": 190.0}
TEXTS = [" ".join(words) + "." for words in product(FORMANTS_HZ, repeat=2)]  # 9
STAGES = ["prepare", "doctor", "text", "stats", "align", "train", "vocoder", "finetune"]
STAGES += ["synthesize", "score", "package"]
SYSTEMS = ["real", "retake", "griffin_lim", "vocoder", "synthesised", "synthesised_griffin_lim"]


def say(text: str, pitch_hz: float, rng: np.random.Generator) -> np.ndarray:
    """Harmonics under two formants for each word, 0.3 s with a pause after it."""
    pieces = [np.zeros(RATE // 10)]
    for word in text.rstrip(".").split():
        time = np.arange(int(RATE * rng.uniform(0.28, 0.34))) / RATE
        f0 = pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 2 * time))
        phase = 2 * np.pi * np.cumsum(f0) / RATE
        wave = np.zeros(len(time))
        for k in range(1, int(4000 / pitch_hz)):
            near = max(np.exp(-((k * pitch_hz - formant) ** 2) / 2e4) for formant in FORMANTS_HZ[word])
            wave += (0.02 + near) * np.cos(k * phase)
        pieces += [0.1 * wave * np.hanning(len(time)) ** 0.3, np.zeros(RATE // 12)]
    samples = np.concatenate(pieces)
    return samples + 0.001 * rng.standard_normal(len(samples))


def make_voice(root: Path, pitch_hz: float) -> Path:
    """LJSpeech's layout: every text once, and twice again."""
    rng = np.random.default_rng(int(pitch_hz))
    (root / "wavs").mkdir(parents=True)
    lines = []
    for number, text in enumerate([*TEXTS, *TEXTS]):
        name = f"T{number:03d}"
        soundfile.write(root / "wavs" / f"{name}.wav", say(text, pitch_hz, rng), RATE, subtype="PCM_16")
        lines.append(f"{name}|{text}|{text}\n")
    (root / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return root


def config_of(folder: Path, roots: dict[str, Path]) -> dict[str, Any]:
    train = {"accelerator": "cpu", "precision": "32-true"}
    vocoder = train | {"epochs": 1, "batches": 2, "batch_size": 2, "frames": 16, "windows": [64, 256]}
    return {
        "exp_dir": str(folder / "exp"),
        "corpus": {
            "voices": [{"root": str(root), "speaker": name} for name, root in roots.items()],
            "valid_texts": 2,
            "test_texts": 2,
        },
        "mel": {"sample_rate": RATE, "n_fft": 512, "hop": 128, "n_mels": 24},
        "aligner": {"d_model": 16},
        "align": train | {"epochs": 2, "max_duration_s": 10},
        "model": {
            "encoder": {"d_model": 16, "n_layers": 1, "d_state": 4},
            "d_model": 16,
            "n_layers": 1,
            "d_state": 4,
        },
        "train": train | {"epochs": 2, "max_duration_s": 10},
        "vocoder": {"d_model": 16, "n_layers": 2, "d_ff": 16, "d_state": 4},
        "train_vocoder": vocoder,
        "finetune": vocoder,
        "synthesize": {"plots": 1, "iterations": 5},
        "score": {"judge": None, "mos": False, "speed": 2, "threads": [1], "listen": 2}
        | {"hard": str(folder / "hard.txt")},
        "package": {"name": "tiny", "data": "tones", "licence": "Apache-2.0", "half": False, "samples": 1},
    }


def experiment(folder: Path, roots: dict[str, Path], **changes: Any) -> Experiment:
    folder.mkdir(exist_ok=True)
    (folder / "hard.txt").write_text("number-1|3 2 1, 3 2 1.\nrepeat-1|One one one one two two.\n")
    one = Experiment(folder / "tiny.yaml", folder / "exp", "tts")
    one.config.write_text(json.dumps(config_of(folder, roots) | changes))  # which is YAML, too
    return one


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The corpora; read only."""
    folder = tmp_path_factory.mktemp("voices")
    return {name: make_voice(folder / name, pitch_hz) for name, pitch_hz in PITCH_HZ.items()}


@pytest.fixture(scope="module")
def spoken(voices: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run; read only."""
    one = experiment(tmp_path_factory.mktemp("spoken"), voices)
    done = one.run()
    (one.exp_dir / "terminal.txt").write_text(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return one


def scores(one: Experiment) -> dict[str, Any]:
    return json.loads((one.exp_dir / "score" / "scores.json").read_text())


def test_every_held_out_text_is_spoken_by_every_system(spoken: Experiment) -> None:
    folder = spoken.exp_dir / "synthesize"
    texts = json.loads((folder / "texts.json").read_text())
    assert sorted(one["speaker"] for one in texts) == ["high", "high", "low", "low"]
    for system in SYSTEMS:
        found = {path.stem: soundfile.read(path) for path in (folder / system).glob("*.wav")}
        assert set(found) == {one["id"] for one in texts}
        for samples, rate in found.values():
            assert rate == RATE and np.ptp(samples) > 0
    real, copies = folder / "real", ("griffin_lim", "vocoder")
    for one in texts:
        size = len(soundfile.read(real / f"{one['id']}.wav")[0])
        for copy in copies:
            assert 0 <= size - len(soundfile.read(folder / copy / f"{one['id']}.wav")[0]) < 128
    assert len(list((folder / "plots").glob("*.png"))) == 2
    assert list((folder / "tensorboard").iterdir())


def test_scores_are_against_the_recordings(spoken: Experiment) -> None:
    found = scores(spoken)
    assert list(found["systems"]) == SYSTEMS
    assert found["judge"] is None
    assert found["systems"]["real"]["distance"] is None
    mcd = {name: found["systems"][name]["distance"]["mcd_db"]["mean"] for name in SYSTEMS[1:]}
    assert 0 < mcd["griffin_lim"] < mcd["synthesised"]
    assert found["systems"]["vocoder"]["distance"]["duration_error_percent"]["mean"] < 10
    assert all(one["texts"] == 4 and not one["problems"] for one in found["systems"].values())
    for run in found["speed"]["runs"]:
        assert run["rtf"] > 0 and [one["words"] >= 10 for one in run["first_audio"]] == [True] * 3
    assert found["hard"]["sentences"] == 2 and found["hard"]["words"] == 12
    assert not [one for one in found["hard"]["findings"] if one["kind"] in ("lost", "added")]
    terminal = (spoken.exp_dir / "terminal.txt").read_text()
    for shown in ("synth., Gr.-Lim", f"{mcd['synthesised']:.2f}", "2 hard sentences, 12 words"):
        assert shown in terminal
    assert "real, 2nd take" in terminal and "no judge listened" in terminal


def test_the_page_plays_what_is_there(spoken: Experiment) -> None:
    page = spoken.exp_dir / "score" / "index.html"
    sources = re.findall(r'src="([^"]+)"', page.read_text())
    assert len(sources) == 2 * len(SYSTEMS) + 2
    assert all((page.parent / source).is_file() for source in sources)


def test_the_package_speaks_as_the_recipe_does(spoken: Experiment) -> None:
    synthesizer = Synthesizer.load(spoken.model)
    assert synthesizer.speakers == ("low", "high")
    folder = spoken.exp_dir / "synthesize"
    for one in json.loads((folder / "texts.json").read_text()):
        wanted, _ = soundfile.read(folder / "synthesised" / f"{one['id']}.wav", dtype="float32")
        found = synthesizer.synthesize(one["text"], speaker=one["speaker"]).samples
        assert len(found) == len(wanted) and np.allclose(found, wanted, atol=1e-3)
    card = (spoken.model / "README.md").read_text()
    assert "| synthesised |" in card and "Licence: Apache-2.0" in card and "tones" in card
    assert "recipes tts" in card
    assert len(list((spoken.model / "samples").glob("*.flac"))) == 1


def test_only_what_changed_runs_again(spoken: Experiment, recipes_here: Run) -> None:
    before = snapshot(spoken.exp_dir)
    for override, rerun in (
        ("train.workers=2", 0),
        ("package.samples=2", 1),
        ("score.listen=1", 2),
        ("package.half=true", 2),
        ("synthesize.plots=0", 3),
        ("finetune.lr=1e-4", 4),
        ("vocoder.d_ff=8", 5),
    ):
        code, output, errors = recipes_here(spoken.config, override, "--dry-run", recipe="tts")
        assert (code, errors) == (0, "")
        assert (output.count(" run "), output.count(" skip ")) == (rerun, len(STAGES) - rerun), override
    code, output, _ = recipes_here(spoken.config, "--dry-run", recipe="vocoder")
    assert (code, output.count(" skip "), output.count(" run ")) == (0, 4, 0)  # the same folders
    assert snapshot(spoken.exp_dir) == before


BAD = [
    (["score.hard=/nowhere"], "stage 'score': /nowhere does not exist"),
    (["score.judge=/nowhere"], "/nowhere"),
    (["synthesize.compare={other: /nowhere.yaml}"], "/nowhere.yaml"),
    (["synthesize.compare={real: tiny.yaml}"], "synthesize.compare: 'real' is a folder of the stage's own"),
    (["synthesize.compare={a/b: tiny.yaml}"], "synthesize.compare"),
    (["corpus.test_texts=7"], "9 different texts, 9 are to be held out; set fewer corpus.valid_texts"),
    (["package.name=a/b"], "package.name"),
    (["score.listen=0"], "score.listen: got 0"),
]


@pytest.mark.parametrize(("overrides", "told"), BAD, ids=[" ".join(one) for one, _ in BAD])
def test_bad_options_are_one_line(
    spoken: Experiment, recipes_here: Run, tmp_path: Path, overrides: list[str], told: str
) -> None:
    told_exp = [] if "score.judge=/nowhere" in overrides else [f"exp_dir={tmp_path}"]
    stage = ["--stage", "score", "--stop-stage", "score"] if not told_exp else []
    code, _, errors = recipes_here(spoken.config, *overrides, *told_exp, *stage, recipe="tts")
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert told in errors


def test_another_recipe_is_compared_only_when_it_is_trained_on_the_same_frames(
    spoken: Experiment, voices: dict[str, Path], recipes_here: Run, tmp_path: Path
) -> None:
    other = experiment(tmp_path, voices)
    option = f"synthesize.compare={{other: {other.config}}}"
    code, _, errors = recipes_here(spoken.config, option, recipe="tts")
    assert code == 2 and "exp/train/done.json does not exist" in errors
    wider = experiment(tmp_path, voices, mel={"sample_rate": RATE})
    code, _, errors = recipes_here(
        spoken.config, f"synthesize.compare={{other: {wider.config}}}", "--dry-run", recipe="tts"
    )
    assert (code, len(errors.splitlines())) == (2, 1) and "section mel of" in errors


@pytest.mark.parametrize("damage", ["missing wav", "empty metadata", "broken line"])
def test_bad_corpora_are_one_line(recipes_here: Run, tmp_path: Path, damage: str) -> None:
    root = make_voice(tmp_path / "voice", 150.0)
    metadata = root / "metadata.csv"
    if damage == "missing wav":
        (root / "wavs" / "T003.wav").unlink()
        told = f"{metadata}:4: T003 has no audio file"
    elif damage == "empty metadata":
        metadata.write_text("")
        told = f"{metadata}: empty"
    else:
        metadata.write_text("T000|one two\n")
        told = f"{metadata}:1: got 2 fields"
    one = experiment(tmp_path / "run", {"voice": root})
    code, _, errors = recipes_here(one.config, recipe="tts")
    assert (code, len(errors.splitlines())) == (2, 1), errors
    assert told in errors
