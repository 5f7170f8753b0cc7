"""Stages from the corpus to what training reads: prepare, doctor, tokenizer, stats."""

import random
from collections import Counter
from pathlib import Path

import torch
from lhotse import CutSet
from lhotse.cut import Cut
from rich.table import Table

from recipes.asr.config import CorpusConfig
from recipes.asr.context import ASRContext, cuts_path
from recipes.findings import verdict, write_findings
from s4speech.audio.features import LogMel
from s4speech.data.asr import ASRDataset
from s4speech.data.clip import default_jobs
from s4speech.data.corpora import read_corpus
from s4speech.data.cut_augment import add_noise, draw_noise, read_sounds
from s4speech.data.doctor import examine
from s4speech.data.leakage import leakage
from s4speech.errors import InputError
from s4speech.models.loading import save_tensors
from s4speech.text.tokenizer import Tokenizer

STATISTICS_HOURS = 5.0
LEAKS = {"leaked_speaker": "speakers", "leaked_text": "texts", "leaked_audio": "recordings"}


def prepare(context: ASRContext, folder: Path) -> None:
    """Corpus -> cuts of train, valid and each test part, as lhotse JSONL, at the features' sample rate."""
    corpus = context.config.corpus
    if not corpus.valid and not corpus.valid_speakers:
        raise InputError("corpus.valid: got nothing, wanted validation parts here or corpus.valid_speakers")
    parts = read_corpus(corpus.name, Path(corpus.root), corpus.parts)
    train = _join([parts[name] for name in corpus.train])
    valid = _join([parts[name] for name in corpus.valid])
    held_out = set(corpus.valid_speakers)
    unknown = held_out - {cut.supervisions[0].speaker for cut in train}
    if unknown:
        raise InputError(
            f"corpus.valid_speakers: no speaker {', '.join(sorted(unknown))} in {', '.join(corpus.train)}"
        )
    valid = _join([valid, train.filter(lambda cut: cut.supervisions[0].speaker in held_out)])
    train = train.filter(lambda cut: cut.supervisions[0].speaker not in held_out).to_eager()
    if not len(train):
        raise InputError("corpus.train: no utterance is left, corpus.valid_speakers holds all of them out")
    sets = {"train": train, "valid": valid} | {f"test/{name}": parts[name] for name in corpus.test}
    rate = context.config.model.features.sample_rate
    sets |= noisy_copies(corpus, parts, rate)
    table = Table("part", "utterances", "hours", "speakers", title=f"{corpus.name} in {corpus.root}")
    for name, cuts in sets.items():
        rates = sorted({cut.sampling_rate for cut in cuts} - {rate})
        if rates:
            told = ", ".join(map(str, rates))
            context.say(f"prepare: {name} has audio of {told} Hz, resampled to {rate} Hz when it is read")
        cuts = cuts.resample(rate).to_eager()
        path = cuts_path(folder, name)
        path.parent.mkdir(exist_ok=True)
        cuts.to_file(path)
        speakers = {cut.supervisions[0].speaker for cut in cuts}
        hours = sum(cut.duration for cut in cuts) / 3600
        table.add_row(name.removeprefix("test/"), str(len(cuts)), f"{hours:.2f}", str(len(speakers)))
    context.console.print(table)


def noisy_copies(corpus: CorpusConfig, parts: dict[str, CutSet], sample_rate_hz: int) -> dict[str, CutSet]:
    """Every test part with noise; the same noise at each ratio."""
    if corpus.noisy_tests is None:
        return {}
    noises = read_sounds(corpus.noisy_tests, sample_rate_hz, "corpus.noisy_tests")

    def with_noise(cut: Cut, snr_db: float) -> Cut:
        return add_noise(cut, draw_noise(noises, cut.duration, random.Random(cut.id)), snr_db)

    return {
        f"test/{name}": CutSet.from_cuts(
            with_noise(cut.resample(sample_rate_hz), snr_db) for cut in parts[part]
        )
        for part in corpus.test
        for name, snr_db in corpus.noisy(part).items()
    }


def doctor(context: ASRContext, folder: Path) -> None:
    """Read every utterance; write findings.csv; stop on a fatal one, or on a test utterance in training.

    Texts, audio and speakers that are tested and trained on are findings that do not stop it.
    """
    config = context.config.doctor
    tests = {f"test/{part}": part for part in context.config.corpus.test}
    parts = {
        name: examine(context.cuts(name), alphabet=config.alphabet, min_s=config.min_s, jobs=default_jobs())
        for name in ("train", "valid", *tests)
    }
    leaks = {
        name: leakage(parts["train"].rows, parts[name].rows, tests.get(name, name))
        for name in ("valid", *tests)
    }
    findings = [f for one in parts.values() for f in one.findings]
    findings += [f for found in leaks.values() for f in found]
    write_findings(findings, folder)
    for name, found in leaks.items():
        repeated = sorted(finding.utterance for finding in found if finding.kind == "leaked_id")
        if repeated:
            raise InputError(
                f"corpus: {len(repeated)} utterances of {tests.get(name, name)} are also in the training "
                f"part, such as {repeated[0]}; correct corpus.train, corpus.valid and corpus.test"
            )
        counts = Counter(finding.kind for finding in found)
        for kind, what in LEAKS.items():
            if counts[kind]:
                context.say(f"doctor: {counts[kind]} {what} of {tests.get(name, name)} are also in training")
    context.say(verdict(findings, folder))


def tokenizer(context: ASRContext, folder: Path) -> None:
    """Training transcripts -> sentencepiece model."""
    config = context.config.tokenizer
    texts = [cut.supervisions[0].text for cut in context.cuts("train")]
    Tokenizer.train(texts, folder / "tokenizer.model", config.vocab_size, config.type)


def stats(context: ASRContext, folder: Path) -> None:
    """Mean and standard deviation of each band over up to 5 h of training audio, evenly chosen."""
    cuts = context.cuts("train")
    hours = sum(cut.duration for cut in cuts) / 3600
    step = max(1, round(hours / STATISTICS_HOURS))
    features = LogMel(**context.config.model.features.model_dump())
    dataset = ASRDataset(features, lambda text: [])
    total = torch.zeros(2, features.n_mels, dtype=torch.float64)
    frames = 0
    for number, cut in enumerate(cuts):
        if number % step == 0:
            mel = dataset.cut_features(cut).double()
            total += torch.stack([mel.sum(0), mel.square().sum(0)])
            frames += len(mel)
    mean = total[0] / frames
    std = (total[1] / frames - mean.square()).clamp(min=0).sqrt()
    save_tensors(folder / "stats.safetensors", {"mean": mean.float(), "std": std.float()})


def _join(sets: list[CutSet]) -> CutSet:
    return CutSet.from_cuts(cut for cuts in sets for cut in cuts)
