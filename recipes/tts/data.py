"""Stages from the corpus to what training reads: prepare, doctor, text, stats."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import librosa
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from rich.table import Table

from recipes.findings import verdict, write_findings
from recipes.tts.context import TTSContext
from s4speech.audio.mel import MelFrames
from s4speech.data.corpora import read_corpus
from s4speech.data.doctor import Finding, examine
from s4speech.data.speech import mel_of, pitch_of, samples_of
from s4speech.errors import InputError
from s4speech.files import write_by_rename
from s4speech.models.loading import save_tensors
from s4speech.text.characters import Speller
from s4speech.text.english import normalize_english
from s4speech.text.phonemes import Pronouncer

PARTS = ("train", "valid", "test")


def prepare(context: TTSContext, folder: Path) -> None:
    """Corpus -> cuts of train, valid and test, as lhotse JSONL, trimmed, at the sample rate of the frames."""
    config = context.config.corpus
    parts: dict[str, list[Cut]] = {name: [] for name in PARTS}
    corpora = [read_corpus(voice.corpus, Path(voice.root), ["all"])["all"] for voice in config.voices]
    texts_of = [{_key(cut) for cut in cuts} for cuts in corpora]
    of_text = _parts_of_voices(texts_of, config.valid_texts, config.test_texts)
    for voice, cuts in zip(config.voices, corpora, strict=True):
        for cut in cuts:
            cut = cut.resample(context.config.mel.sample_rate)
            trimmed = _trim(cut, config.trim_db, config.margin_s).with_id(f"{voice.speaker}-{cut.id}")
            trimmed.supervisions[0].speaker = voice.speaker
            if trimmed.duration >= config.min_s:
                parts[of_text[_key(cut)]].append(trimmed)
    table = Table("part", "utterances", "texts", "hours", "speakers", title="after trimming")
    for name, chosen in parts.items():
        CutSet.from_cuts(chosen).to_file(folder / f"{name}.jsonl.gz")
        hours = sum(cut.duration for cut in chosen) / 3600
        texts, speakers = {_key(cut) for cut in chosen}, {cut.supervisions[0].speaker for cut in chosen}
        table.add_row(name, str(len(chosen)), str(len(texts)), f"{hours:.2f}", str(len(speakers)))
    context.console.print(table)


def _key(cut: Cut) -> str:
    """What two recordings of one text have in common: its letters and digits."""
    return "".join(c for c in cut.supervisions[0].text.casefold() if c.isalnum())


def _parts_of_voices(texts_of: Sequence[set[str]], valid: int, test: int) -> dict[str, str]:
    """Which part each text belongs to. One that is held out of a voice is held out of all that read it."""
    parts: dict[str, str] = {}
    for texts in texts_of:
        for text, part in _parts_of_texts(texts, valid, test).items():
            parts[text] = max(part, parts.get(text, part), key=PARTS.index)
    return parts


def _parts_of_texts(texts: set[str], valid: int, test: int) -> dict[str, str]:
    """Which part each text belongs to: chosen by a hash, so that a larger corpus keeps its choice."""
    order = sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())
    if len(order) <= valid + test:
        raise InputError(
            f"corpus: {len(order)} different texts, {valid + test} are to be held out; "
            "set fewer corpus.valid_texts and corpus.test_texts"
        )
    return {
        text: "test" if i < test else "valid" if i < test + valid else "train" for i, text in enumerate(order)
    }


def _trim(cut: Cut, top_db: float, margin_s: float) -> Cut:
    _, (start, stop) = librosa.effects.trim(samples_of(cut), top_db=top_db)
    rate = cut.sampling_rate
    first = max(0.0, start / rate - margin_s)
    last = min(cut.duration, stop / rate + margin_s)
    return cut.truncate(offset=first, duration=last - first, preserve_id=True)


def doctor(context: TTSContext, folder: Path) -> None:
    """Read every utterance; write findings.csv; stop on a fatal one."""
    findings: list[Finding] = []
    for part in PARTS:
        cuts = context.cuts(part)
        letters = set().union(*(cut.supervisions[0].text for cut in cuts))
        # any letter is fine: the text stage says what cannot be spoken
        findings += examine(cuts, alphabet=letters, min_s=context.config.corpus.min_s).findings
    write_findings(findings, folder)
    context.say(verdict(findings, folder))


def text(context: TTSContext, folder: Path) -> None:
    """Text of every utterance -> spoken.json: tokens, and words as (text, start, stop); unknown.txt."""
    pronouncer = Pronouncer() if context.config.text.unit == "phonemes" else Speller()
    spoken = {}
    unknown: set[str] = set()
    for part in PARTS:
        for cut in context.cuts(part):
            phones = pronouncer.pronounce(normalize_english(cut.supervisions[0].text))
            spoken[cut.id] = {"tokens": phones.tokens, "words": phones.words}
            unknown |= {word.text for word in phones.words if not pronouncer.known(word.text)}
    write_by_rename(folder / "spoken.json", json.dumps(spoken, ensure_ascii=False))
    write_by_rename(folder / "unknown.txt", "".join(f"{word}\n" for word in sorted(unknown)))
    context.say(f"text: {len(spoken)} utterances, {len(unknown)} words that the lexicon does not have")


def stats(context: TTSContext, folder: Path) -> None:
    """Pitch of every utterance; mean and deviation of each band, of log pitch and of energy in training."""
    mel = context.config.mel
    frames = MelFrames(**mel.model_dump())
    pitch = {}
    total = torch.zeros(2, mel.n_mels, dtype=torch.float64)
    count = 0
    logs = []
    for part in PARTS:
        for cut in context.cuts(part):
            pitch[cut.id] = pitch_of(mel, cut)
            if part == "train":
                logs.append(pitch[cut.id][pitch[cut.id] > 0].log())
                bands = mel_of(frames, cut).double()
                total += torch.stack([bands.sum(0), bands.square().sum(0)])
                count += len(bands)
    mean = total[0] / count
    std = (total[1] / count - mean.square()).clamp(min=1e-6).sqrt()
    log_pitch = torch.cat(logs)
    of_pitch = torch.stack([log_pitch.mean(), log_pitch.std()])
    save_tensors(folder / "stats.safetensors", {"mean": mean.float(), "std": std.float(), "pitch": of_pitch})
    save_tensors(folder / "pitch.safetensors", pitch)
    centre = float(of_pitch[0].exp())
    context.say(f"stats: {count} frames, pitch {centre:.0f} Hz")
