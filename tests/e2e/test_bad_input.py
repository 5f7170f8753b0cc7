"""Bad input: one clear line that names the file or the key, exit code 2, and nothing lost."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from s4speech import Recognizer
from s4speech.errors import InputError
from tests.conftest import Experiment, new_experiment, run_command, snapshot
from tests.e2e.corpus import RATE, make_corpus

Run = Callable[..., tuple[int, str, str]]


def one_line(error: str, program: str = "recipes") -> bool:
    return error.startswith(f"{program}: ") and error.count("\n") == 1 and error.endswith("\n")


@pytest.fixture
def mine(finished: Experiment, tiny_corpus: Path, tmp_path: Path) -> Experiment:
    """A finished experiment and a corpus of one's own to spoil."""
    shutil.copytree(tiny_corpus, tmp_path / "LibriSpeech")
    experiment = new_experiment(tmp_path, tmp_path / "LibriSpeech")
    shutil.copytree(finished.exp_dir, experiment.exp_dir)
    return experiment


def test_it_ends_with_2_and_one_line_as_a_command(mine: Experiment) -> None:
    before = snapshot(mine.exp_dir)
    done = mine.run("corpus.root=/no/such/place")
    assert done.returncode == 2
    assert one_line(done.stderr) and "/no/such/place" in done.stderr
    assert snapshot(mine.exp_dir) == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["corpus.root=nowhere"], ["nowhere", "does not exist"]),
        (["corpus.train=[train-huge]"], ["LibriSpeech/train-huge", "does not exist"]),
        (["corpus.name=librispeach"], ["corpus.name", "librispeach", "librispeech"]),
        (["corpus.valid=[]"], ["corpus.valid", "corpus.valid_speakers"]),
        (["corpus.valid_speakers=[99]"], ["corpus.valid_speakers.0", "99"]),
        (["corpus.valid_speakers=['99']"], ["corpus.valid_speakers", "99", "train-tiny"]),
        (["corpus.valid_speakers=['1','2','3','4']"], ["corpus.train", "no utterance"]),
        (["corpus.train=[]"], ["corpus.train"]),
        (["corpus.test=[]"], ["corpus.test"]),
        (["corpus.test=[test-tiny,train-tiny]"], ["56 utterances of train-tiny", "corpus.test"]),
        (["corpus.valid=[train-tiny]"], ["56 utterances of valid", "corpus.valid"]),
        (["train.leraning_rate=1"], ["train.leraning_rate"]),
        (["train.lr=fast"], ["train.lr", "'fast'"]),
        (["train.epochs=2.5"], ["train.epochs", "2.5"]),
        (["train.lr"], ["train.lr", "key=value"]),
        (["train.lr=[1"], ["train.lr=[1"]),
        (["exp_dir.sub=1"], ["exp_dir.sub"]),
        (["decode.beam=0"], ["decode.beam", "0"]),
        (["decode.methods=[]"], ["decode.methods"]),
        (["decode.methods=[beam]"], ["decode.methods", "beam", "ctc_prefix_beam"]),
        (["decode.methods=[joint,joint]"], ["decode.methods", "each method once"]),
        (["decode.ctc_weight=1.5"], ["decode.ctc_weight", "1.5"]),
        (["model.decoder.type=s5"], ["model.decoder.type", "'s5'", "s4"]),
        (["tokenizer.type=bpe", "tokenizer.vocab_size=500"], ["tokenizer.vocab_size", "500"]),
        (["model.encoder.n_heads=5"], ["model", "n_heads", "5"]),
        (["model.decoder.d_model=64"], ["model", "d_model", "64"]),
        (["train.speeds=[]"], ["train.speeds", "1 item"]),
        (["train.speeds=[1.0,0.0]"], ["train.speeds.1", "0.0"]),
        (["train.max_duration_s=0"], ["train.max_duration_s", "0"]),
        (["train.lr=0"], ["train.lr", "0"]),
        (["train.lr=.nan"], ["train.lr", "finite"]),
        (["train.weight_decay=-0.1"], ["train.weight_decay", "-0.1"]),
        (["train.warmup_steps=-1"], ["train.warmup_steps", "-1"]),
        (["train.epochs=0"], ["train.epochs", "0"]),
        (["train.seed=-1"], ["train.seed", "-1"]),
        (["train.grad_clip=0"], ["train.grad_clip", "0"]),
        (["train.cache_gib=.inf"], ["train.cache_gib", "finite"]),
        (["train.curriculum=[{epochs: 1, max_s: -2}]"], ["train.curriculum.0.max_s", "-2"]),
        (["train.freeze=[encoder,ctc,decoder]"], ["train.freeze", "trained"]),
        (["train.workers=2"], ["train", "cache_gib", "workers 2"]),
        (["model.specaugment.time_masks=-1"], ["model.specaugment.time_masks", "-1"]),
        (["model.specaugment.time_ratio=2"], ["model.specaugment.time_ratio", "2"]),
        (["model.features.window_s=.inf"], ["model.features.window_s"]),
        (["model.features.window_s=0"], ["model.features.window_s", "0"]),
        (["model.features.hop_s=1.0e-9"], ["model", "hop_s"]),
        (["model.features.sample_rate=1"], ["model.features.sample_rate", "1"]),
        (["model.encoder.subsampling=conv2d", "model.features.n_mels=3"], ["model", "n_mels", "3"]),
        (["model.encoder.d_model=1099511627776"], ["model", "memory"]),
        (["model.decoder.d_ff=1000000000000000000000000000000"], ["model", "recipe's YAML"]),
        (["decode.max_duration_s=-1"], ["decode.max_duration_s", "-1"]),
        (["doctor.min_s=0.05"], ["doctor.min_s", "0.05", "0.085"]),
        (["doctor.alphabet=''"], ["doctor.alphabet"]),
        (["corpus.test=[../test-tiny]"], ["corpus.test.0", "../test-tiny"]),
        (["package.name=../tiny"], ["package.name"]),
        (["--stage", "trian"], ["--stage", "trian", "prepare, doctor"]),
        (["--stop-stage", "trian"], ["--stop-stage", "trian"]),
        (["--stage", "score", "--stop-stage", "train"], ["--stop-stage", "score", "train"]),
        (["--stage"], ["--stage"]),
        (["--fast"], ["--fast"]),
    ],
)
def test_options_and_keys(
    recipes_here: Run, mine: Experiment, arguments: list[str], named: list[str]
) -> None:
    before = snapshot(mine.exp_dir)
    code, _, error = recipes_here(mine.config, *arguments)
    assert code == 2
    assert one_line(error), error
    assert all(name in error for name in named), error
    # Stages that read the corpus start afresh; what was trained is not touched.
    after = snapshot(mine.exp_dir)
    begun = {name.split("/")[0] for name, at in before.items() if after.get(name) != at}
    assert begun <= {"prepare", "doctor", "tokenizer"}
    assert recipes_here("--dry-run", mine.config)[0] == 0


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("override", ["train.accelerator=gpu", "decode.device=cuda"])
def test_a_gpu_that_is_not_there(recipes_here: Run, mine: Experiment, override: str) -> None:
    before = snapshot(mine.exp_dir)
    code, _, error = recipes_here(mine.config, override, "doctor.min_s=0.25")  # the doctor would run, too
    assert code == 2
    assert one_line(error) and override.split("=")[0] in error, error
    assert snapshot(mine.exp_dir) == before


def test_a_curriculum_that_leaves_nothing(recipes_here: Run, mine: Experiment) -> None:
    trained = snapshot(mine.exp_dir / "train")
    code, _, error = recipes_here(mine.config, "train.curriculum=[{epochs: 2, max_s: 0.5}]")
    assert code == 2
    assert one_line(error) and "train.curriculum" in error and "0.5 s" in error, error
    assert snapshot(mine.exp_dir / "train.old") == trained


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("exp_dir: exp\ncorpus: {name: [librispeech\n", ["line "]),
        ("exp_dir: exp\nexp_dir: two\n", ["exp_dir", "twice"]),
        ("- a\n- b\n", ["list"]),
        ("exp_dir: exp\n", ["corpus", "missing"]),
        ("extends: none.yaml\n", ["none.yaml"]),
        ("\x00", []),
    ],
)
def test_yaml(recipes_here: Run, tmp_path: Path, text: str, named: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    code, _, error = recipes_here(path)
    assert code == 2
    assert one_line(error), error
    assert str(path.parent) in error and all(name in error for name in named), error
    assert [p.name for p in tmp_path.iterdir()] == ["recipe.yaml"]


def test_the_file_itself(recipes_here: Run, tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        code, _, error = recipes_here(path)
        assert code == 2 and one_line(error) and str(path) in error


def spoil(part: Path, how: str) -> Path:
    """Damage the first utterance of a speaker; returns the file that the message has to name."""
    audio, transcript = part / "2" / "1" / "2-1-0000.flac", part / "2" / "1" / "2-1.trans.txt"
    lines = transcript.read_text().splitlines()
    match how:
        case "truncated":
            audio.write_bytes(audio.read_bytes()[: audio.stat().st_size // 2])
        case "not audio":
            audio.write_bytes(b"hello" * 200)
        case "zero bytes":
            audio.write_bytes(b"")
        case "zero samples":
            soundfile.write(audio, np.zeros(0), RATE)
        case "one sample":
            soundfile.write(audio, np.full(1, 0.5), RATE)
        case "unreadable":
            audio.unlink()
            audio.mkdir()
        case "no audio":
            audio.unlink()
            return audio
        case "no transcript":
            transcript.write_text("\n".join(lines[1:]) + "\n")
        case "empty transcript":
            transcript.write_text("\n".join(["2-1-0000 ", *lines[1:]]) + "\n")
            return transcript
        case "characters":
            transcript.write_text("\n".join(["2-1-0000 Añ 7", *lines[1:]]) + "\n", "utf-8")
        case "not text":
            transcript.write_bytes(b"2-1-0000 A\xff\xfe\n")
            return transcript
        case "twice":
            transcript.write_text("\n".join([lines[0], *lines]) + "\n")
            return transcript
    return audio


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("truncated", "truncated"),
        ("not audio", "2-1-0000"),
        ("zero bytes", "empty"),
        ("zero samples", "sample"),
        ("one sample", "too short: 1 sample"),
        ("unreadable", "2-1-0000"),
        ("no audio", "no audio file"),
        ("no transcript", "no transcript"),
        ("empty transcript", "empty transcript"),
        ("characters", "'7' 'ñ'"),
        ("not text", "UTF-8"),
        ("twice", "twice"),
    ],
)
def test_corpora(recipes_here: Run, mine: Experiment, how: str, said: str) -> None:
    before = snapshot(mine.exp_dir)
    named = spoil(mine.exp_dir.parent / "LibriSpeech" / "train-tiny", how)
    code, _, error = recipes_here(mine.config)
    assert code == 2
    assert one_line(error), error
    assert str(named) in error and said in error, error
    after = snapshot(mine.exp_dir)
    lost = {name for name, at in before.items() if after.get(name) != at}
    assert {name.split("/")[0] for name in lost} <= {"prepare", "doctor"}  # made from the corpus as it was
    # The same command says the same again, and nothing is trained on it.
    assert recipes_here(mine.config)[::2] == (2, error)


def test_a_missing_part_of_the_corpus(recipes_here: Run, mine: Experiment) -> None:
    before = snapshot(mine.exp_dir)
    part = mine.exp_dir.parent / "LibriSpeech" / "dev-tiny"
    part.rename(part.with_name("moved"))
    code, _, error = recipes_here(mine.config)
    assert code == 2 and one_line(error) and str(part) in error
    assert snapshot(mine.exp_dir) == before
    part.with_name("moved").rename(part)
    assert recipes_here(mine.config, "--dry-run")[::2] == (0, "")
    shutil.rmtree(part)
    part.mkdir()
    code, _, error = recipes_here(mine.config)
    assert code == 2 and one_line(error) and str(part) in error and "flac" in error


def test_a_corrected_corpus_goes_on(recipes_here: Run, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "LibriSpeech", ["train-tiny", "dev-tiny", "test-tiny"])
    experiment = new_experiment(tmp_path, corpus)
    named = spoil(corpus / "train-tiny", "one sample")
    assert recipes_here(experiment.config)[0] == 2
    named.unlink()
    transcript = named.parent / "2-1.trans.txt"
    transcript.write_text(transcript.read_text().split("\n", 1)[1])
    code, output, error = recipes_here(experiment.config, "--stop-stage", "stats")
    assert (code, error) == (0, "")
    assert "doctor: no fatal finding" in output


@pytest.mark.parametrize("how", ["nan", "zero", "one", "truncated"])
def test_audio_for_the_recogniser(finished: Experiment, tiny_corpus: Path, tmp_path: Path, how: str) -> None:
    path, good = tmp_path / "bad.wav", tiny_corpus / "test-tiny" / "7" / "1" / "7-1-0000.flac"
    samples, _ = soundfile.read(good)
    if how == "nan":
        samples[1000] = np.nan
    size = {"zero": 0, "one": 1}.get(how, len(samples))
    soundfile.write(path, samples[:size], RATE, subtype="FLOAT")
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:9999])
    recognizer = Recognizer.load(finished.model)
    with pytest.raises(InputError, match=r"bad\.wav"):
        recognizer.transcribe_file(path)
    if how != "truncated":
        with pytest.raises(InputError):
            recognizer.transcribe(samples[:size], RATE)
    # One bad file among good ones: the good ones are written all the same.
    done = run_command("-m", "s4speech", "transcribe", path, good, "-m", finished.model, "-o", tmp_path)
    assert done.returncode == 2
    assert one_line(done.stderr, "s4speech") and str(path) in done.stderr
    assert (tmp_path / "7-1-0000.txt").exists() and not (tmp_path / "bad.txt").exists()


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "tokenizer.model", "stats.safetensors"])
def test_a_model_with_a_missing_or_foreign_file(finished: Experiment, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "model"
    shutil.copytree(finished.model, broken)
    foreign = {"model.safetensors": "stats.safetensors", "stats.safetensors": "model.safetensors"}
    if name == "config.yaml":
        text = (broken / name).read_text()
        (broken / name).write_text(text.replace("d_model: 48", "d_model: 64"))
    else:
        shutil.copy(finished.model / foreign.get(name, "config.yaml"), broken / name)
    for _ in ("foreign", "missing"):
        with pytest.raises(InputError) as caught:
            Recognizer.load(broken)
        assert "\n" not in str(caught.value)
        # Tensors of another shape may belong to either file.
        assert name in str(caught.value) or (
            name == "config.yaml" and "model.safetensors" in str(caught.value)
        )
        (broken / name).unlink(missing_ok=True)


def test_a_model_directory_cannot_run_code(finished: Experiment, tmp_path: Path) -> None:
    broken = tmp_path / "model"
    shutil.copytree(finished.model, broken)
    with (broken / "config.yaml").open("a") as file:
        file.write("extra: !!python/object/apply:os.system ['touch hacked']\n")
    with pytest.raises(InputError, match=r"config\.yaml"):
        Recognizer.load(broken)
    assert not Path("hacked").exists()
