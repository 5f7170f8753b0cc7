"""A few utterances of real speech through the stages before training, where ../shared/data is there."""

import gzip
import tarfile
from pathlib import Path

import pytest
import soundfile
import soxr
from safetensors.numpy import load_file

from tests.conftest import REPOSITORY, new_experiment

ARCHIVE = REPOSITORY.parent / "shared" / "data" / "librispeech-train-clean-5.tar"
CHAPTERS, UTTERANCES = 3, 2


def unpack_some(root: Path) -> dict[str, str]:
    """Some chapters in the published layout, a part each: train, dev, test; returns text by utterance."""
    texts: dict[str, str] = {}
    with tarfile.open(ARCHIVE) as archive:
        members = {member.name: member for member in archive.getmembers()}
        speakers: set[str] = set()
        for name in sorted(members):
            speaker = name.split("/")[-3] if name.endswith(".trans.txt") else None
            if speaker is None or speaker in speakers:
                continue
            speakers.add(speaker)
            above = name.rpartition("/")[0]
            part = ("train-tiny", "dev-tiny", "test-tiny")[len(speakers) - 1]
            folder = root / part / Path(*Path(name).parts[-3:-1])
            folder.mkdir(parents=True)
            lines = archive.extractfile(members[name]).read().decode().splitlines()[:UTTERANCES]
            (folder / Path(name).name).write_text("".join(f"{line}\n" for line in lines))
            for line in lines:
                utterance, text = line.split(" ", 1)
                texts[utterance] = text
                opus = archive.extractfile(members[f"{above}/{utterance}.opus"])
                samples, rate = soundfile.read(opus, dtype="float32")
                if rate != 16000:
                    samples = soxr.resample(samples, rate, 16000)
                soundfile.write(folder / f"{utterance}.flac", samples, 16000, subtype="PCM_16")
            if len(speakers) == CHAPTERS:
                return texts
    raise AssertionError(f"{ARCHIVE} has not {CHAPTERS} speakers")


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no ../shared/data beside the repository")
def test_real_speech_is_read_and_found_sound(recipes_here, tmp_path: Path) -> None:
    corpus = tmp_path / "LibriSpeech"
    texts = unpack_some(corpus)
    assert len(texts) == CHAPTERS * UTTERANCES
    experiment = new_experiment(tmp_path, corpus)
    code, output, error = recipes_here(
        experiment.config, "--stop-stage", "stats", "tokenizer.type=bpe", "tokenizer.vocab_size=40"
    )
    assert (code, error) == (0, "")
    assert "doctor: no fatal finding, 0 to look at" in output
    told = "".join(
        gzip.decompress(path.read_bytes()).decode() for path in (experiment.exp_dir / "prepare").rglob("*.gz")
    )
    assert all(f'"{text}"' in told and utterance in told for utterance, text in texts.items())
    stats = load_file(experiment.exp_dir / "stats" / "stats.safetensors")
    assert stats["mean"].shape == (80,)
    assert ((stats["mean"] > -23) & (stats["mean"] < 5)).all() and (stats["std"] > 0.5).all()
