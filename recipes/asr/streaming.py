"""Stages of a streaming model: decode, calibrate and longform."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lhotse.cut import Cut
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from recipes.asr.calibration import bins, calibrated, expected_error, fit, judge, judged
from recipes.asr.context import FULL, ASRContext
from recipes.asr.delay import Shown, delays, emitted, word_ends
from recipes.asr.evaluation import Clock, duration_batches, hardware, json_lines, total_seconds
from recipes.asr.plots import plot_reliability
from recipes.asr.shards import Prepare, Result, Shards, Work
from recipes.asr.training import averaged_model
from s4speech.config.streaming import Calibration, SearchOptions, StreamingConfig
from s4speech.files import write_by_rename
from s4speech.models.asr.recognize import Heard
from s4speech.models.asr.streaming import StreamingASRModel
from s4speech.models.lm import load_scorer
from s4speech.models.package import ASRPackage, ASRPackageConfig
from s4speech.search.hypothesis import Scorer
from s4speech.streaming.engine import BatchEngine
from s4speech.streaming.events import Event, Final
from s4speech.streaming.recognizer import Recognizer
from s4speech.streaming.segment import LiveSegment, Setup
from s4speech.streaming.steps import Steps, cut, run_steps
from s4speech.streaming.transcript import Segment, Word

CTC, ONE_PASS, RESCORED, FUSED = "ctc", "onepass", "rescored", "lm"


@dataclass(frozen=True)
class Listened:
    """An utterance as one segment of a stream. shown: the text after each chunk; segment: after rescoring."""

    shown: list[Shown]
    segment: Segment | None

    @property
    def one_pass(self) -> Shown:
        """What the search says at the end."""
        return self.shown[-1]

    @property
    def rescored(self) -> Shown:
        """And the rescoring."""
        return self.shown[-1][0], "" if self.segment is None else self.segment.text

    @property
    def words(self) -> tuple[Word, ...]:
        """Of the rescored text."""
        return () if self.segment is None else self.segment.words


class Listener:
    """The averaged model, to hear whole utterances as a stream would: the chunk mask instead of chunks."""

    def __init__(self, context: ASRContext) -> None:
        model = averaged_model(context).to(context.decode_device)
        assert isinstance(model, StreamingASRModel)  # the stages are chosen by its type
        self.model, self.tokenizer, self.device = model, context.tokenizer, context.decode_device
        self.ready = model.freeze()
        config = context.config.streaming.lm
        self.lm = None if config is None else load_scorer(config.path, context.tokenizer, self.device)

    def features(self, cuts: Sequence[Cut]) -> tuple[Tensor, Tensor, list[float]]:
        """Normalised log-mel (B, T, n_mels), frames (B,); seconds of each cut."""
        waves = [torch.from_numpy(cut.load_audio()[0]) for cut in cuts]
        samples = torch.tensor([len(wave) for wave in waves], device=self.device)
        mel, frames = self.model.features(pad_sequence(waves, batch_first=True).to(self.device), samples)
        return self.model.normalize(mel), frames, (samples / self.ready.sample_rate).tolist()

    def hear(self, mel: Tensor, frames: Tensor, chunk: int | None) -> Heard:
        """What a stream with chunks of so many frames makes of it; None: the whole at once."""
        encoded = self.model.encoder(mel, frames, chunk)
        return Heard(encoded.frames, encoded.lengths, self.model.ctc_log_probs(encoded.frames))

    def search(
        self,
        options: SearchOptions,
        heard: Heard,
        chunk: int | None,
        seconds: Sequence[float],
        lm: Scorer | None = None,
    ) -> list[Listened]:
        """Search each row as a session would, but without endpoints, and rescore at the end."""
        setup = Setup(self.ready, self.tokenizer, options, Calibration(), self.device, lm=lm)
        works = [
            self._listen(
                setup, Heard(memory[:n].unsqueeze(0), heard.lengths, log_probs[:n]), chunk, duration_s
            )
            for memory, n, log_probs, duration_s in zip(
                heard.memory, heard.lengths.tolist(), heard.log_probs, seconds, strict=True
            )
        ]
        return run_steps(self.ready.decoder, works)

    def _listen(self, setup: Setup, heard: Heard, chunk: int | None, duration_s: float) -> Steps[Listened]:
        """One utterance: memory (1, T, D), log_probs (T, V)."""
        segment, n = LiveSegment(setup), len(heard.log_probs)
        projected = self.ready.decoder.project(heard.memory) if setup.decodes else None
        shown: list[Shown] = []
        for begin in range(0, n, chunk or n):
            where = slice(begin, min(begin + (chunk or n), n))
            own = None if projected is None else cut(projected, where)
            yield from segment.advance(heard.log_probs[where], own)
            overlap_s = self.ready.overlap_samples / self.ready.sample_rate
            shown.append((min(setup.seconds(where.stop) + overlap_s, duration_s), segment.text()[0]))
        if not shown:
            return Listened([(duration_s, "")], None)
        shown[-1] = (duration_s, shown[-1][1])
        return Listened(shown, segment.finish())


def streaming_config(context: ASRContext, calibration: Calibration) -> StreamingConfig:
    """How the model is used."""
    config = context.config.streaming
    return StreamingConfig(
        chunk_ms=config.chunk_ms,
        search=config.used_search,
        endpoints=config.endpoints,
        calibration=calibration,
    )


def decode(context: ASRContext, folder: Path) -> None:
    """Each part at every chunk size by every method -> PART.jsonl; what is written is not redone."""
    decode_parts(context, folder, _prepare_decoding, context.config.streaming.search.beam)


def decode_parts(context: ASRContext, folder: Path, prepare: Prepare, beam: int) -> None:
    """The rows that some work makes of the batches of each part, with the time it takes, as files."""
    max_duration_s = context.config.decode.max_duration_s
    parts = {part: folder / f"{part}.jsonl" for part in context.streaming_parts}
    cuts = {part: context.part(part) for part, path in parts.items() if not path.exists()}
    shards = Shards(folder, {part: duration_batches(own, max_duration_s) for part, own in cuts.items()})
    shards.run(context, prepare, folder.name)
    for part, own in cuts.items():
        results = shards.results(part)
        audio_s, seconds = sum(cut.duration for cut in own), total_seconds(results)
        timing = {"part": part, "audio_s": audio_s, "seconds": seconds, "beam": beam}
        write_by_rename(folder / f"{part}.timing.json", json.dumps(timing | hardware(context), indent=1))
        write_by_rename(parts[part], json_lines(row for result in results for row in result["rows"]))
        spent = sum(seconds.values()) / audio_s
        context.say(f"{folder.name} {part}: {spent:.3f} s a second of audio for all of it")
    shards.remove()


def _prepare_decoding(context: ASRContext) -> Work:
    return partial(_decode_batch, context, Listener(context))


@torch.inference_mode()
def _decode_batch(context: ASRContext, listener: Listener, batch: Sequence[Cut]) -> Result:
    """A row an utterance; texts and delays by CHUNK/METHOD, words at the chunk size that is used."""
    config, tokenizer = context.config.streaming, listener.tokenizer
    clock = Clock(listener.device)
    mel, frames, durations_s = listener.features(batch)
    whole = listener.hear(mel, frames, None)
    refs = [one.supervisions[0].text for one in batch]
    ends = [
        word_ends(log_probs[:n], ref, tokenizer, listener.ready.frame_shift_s)
        for log_probs, n, ref in zip(whole.log_probs, whole.lengths.tolist(), refs, strict=True)
    ]
    rows: list[dict[str, Any]] = [
        {"id": one.id, "speaker": one.supervisions[0].speaker, "ref": ref, "delays_s": {}}
        for one, ref in zip(batch, refs, strict=True)
    ]
    clock.lap("features and alignment")
    for label, chunk in context.chunks.items():
        heard = whole if chunk is None else listener.hear(mel, frames, chunk)
        clock.lap(f"{label}/encoder")
        plain = listener.search(ctc_only(config.search), heard, chunk, durations_s)
        clock.lap(f"{label}/{CTC}")
        full = listener.search(config.search, heard, chunk, durations_s)
        clock.lap(f"{label}/{RESCORED}")
        fused: Sequence[Listened | None] = [None] * len(rows)
        if FUSED in methods(context, label):
            fused = listener.search(config.used_search, heard, chunk, durations_s, listener.lm)
            clock.lap(f"{label}/{FUSED}")
        for row, end, one, two, three in zip(rows, ends, plain, full, fused, strict=True):
            results = [
                (CTC, one.shown, one.one_pass),
                (ONE_PASS, two.shown, two.one_pass),
                (RESCORED, two.shown, two.rescored),
            ]
            if three is not None:
                results.append((FUSED, three.shown, three.rescored))
            for method, shown, final in results:
                row[f"{label}/{method}"] = final[1]
                if chunk is not None and end is not None:
                    times = emitted(shown, final)
                    found = delays(row["ref"], end, final[1], times)
                    row["delays_s"][f"{label}/{method}"] = [round(value, 3) for value in found]
            if label == context.used_chunk:
                row["words"] = judge(row["ref"], (three or two).words)
    return {"rows": rows, "seconds": clock.seconds}


def methods(context: ASRContext, chunk: str) -> tuple[str, ...]:
    """What is decoded at a chunk size; the last of `used_chunk` is how the model is used."""
    fused = context.config.streaming.lm is not None and chunk in (context.used_chunk, FULL)
    return (CTC, ONE_PASS, RESCORED, FUSED) if fused else (CTC, ONE_PASS, RESCORED)


def ctc_only(options: SearchOptions) -> SearchOptions:
    """The search without the decoder, and without what makes up for it."""
    return options.model_copy(update={"decoder_weight": 0.0, "rescore_weight": 0.0, "length_bonus": 0.0})


def calibrate(context: ASRContext, folder: Path) -> None:
    """Platt's scale and offset of word confidence, from the validation part, as it is used."""
    batches = duration_batches(context.part("valid"), context.config.decode.max_duration_s)
    shards = Shards(folder, {"valid": batches})
    shards.run(context, _prepare_judging, "calibrate")
    found = [(float(c), bool(right)) for one in shards.results("valid") for c, right in one["words"]]
    words = judged(found)
    calibration = fit(words)
    after = calibrated(words, calibration)
    record = calibration.model_dump() | {
        "words": len(words.correct),
        "correct": int(words.correct.sum()),
        "ece_before": expected_error(words),
        "ece_after": expected_error(after),
    }
    write_by_rename(folder / "calibration.json", json.dumps(record, indent=1))
    plot_reliability(
        {"posterior": bins(words), "calibrated": bins(after)} if found else {},
        f"validation part, {context.used_chunk}, {len(found)} words",
        folder / "reliability.png",
    )
    context.say(
        f"calibrate: {len(found)} words, scale {calibration.scale:.2f}, offset {calibration.offset:.2f}, "
        f"expected calibration error {record['ece_before']:.3f} -> {record['ece_after']:.3f}"
    )
    shards.remove()


def _prepare_judging(context: ASRContext) -> Work:
    return partial(_judge_batch, context, Listener(context))


@torch.inference_mode()
def _judge_batch(context: ASRContext, listener: Listener, batch: Sequence[Cut]) -> Result:
    """The words of the batch, as the model is used: confidence, and whether it is right."""
    search, chunk = context.config.streaming.used_search, context.chunks[context.used_chunk]
    mel, frames, seconds = listener.features(batch)
    found = listener.search(search, listener.hear(mel, frames, chunk), chunk, seconds, listener.lm)
    pairs = [judge(cut.supervisions[0].text, one.words) for cut, one in zip(batch, found, strict=True)]
    return {"words": [pair for own in pairs for pair in own]}


@dataclass(frozen=True)
class Recording:
    """Utterances of one speaker, one after another with nothing between them."""

    cuts: tuple[Cut, ...]

    @property
    def id(self) -> str:
        """Of the first utterance and how many follow it."""
        return f"{self.cuts[0].id}+{len(self.cuts) - 1}"

    @property
    def text(self) -> str:
        """What is said in it."""
        return " ".join(one.supervisions[0].text for one in self.cuts)

    @property
    def duration_s(self) -> float:
        """Of all."""
        return float(sum(one.duration for one in self.cuts))


def recordings(cuts: Sequence[Cut], count: int) -> list[Recording]:
    """Every utterance once: `count` of a speaker together, in their order, and the rest of each speaker."""
    speakers: dict[str, list[Cut]] = {}
    for one in cuts:
        speakers.setdefault(one.supervisions[0].speaker, []).append(one)
    return [
        Recording(tuple(own[i : i + count])) for own in speakers.values() for i in range(0, len(own), count)
    ]


def longform(context: ASRContext, folder: Path) -> None:
    """Utterances of a speaker joined, heard by sessions with endpoints -> PART.COUNT.jsonl."""
    config = context.config.streaming
    parts: dict[str, list[list[Recording]]] = {}
    for part in context.streaming_parts:
        for count in config.groups:
            if not (folder / f"{part}.{count}.jsonl").exists():
                # Of like length together: they end together.
                found = sorted(recordings(list(context.part(part)), count), key=lambda one: one.duration_s)
                lanes = [found[i : i + config.lanes] for i in range(0, len(found), config.lanes)]
                parts[f"{part}.{count}"] = lanes
    shards = Shards(folder, parts)
    shards.run(context, _prepare_recognizer, "longform")
    for name in parts:
        rows = (row for result in shards.results(name) for row in result["rows"])
        write_by_rename(folder / f"{name}.jsonl", json_lines(rows))
    shards.remove()


def _prepare_recognizer(context: ASRContext) -> Work:
    use = streaming_config(context, Calibration())
    package_config = ASRPackageConfig(model=context.model_config(), streaming=use)
    package = ASRPackage(averaged_model(context), context.tokenizer, package_config, context.language_model)
    return partial(_hear_recordings, Recognizer(package, str(context.decode_device)))


def _hear_recordings(recognizer: Recognizer, together: Sequence[Recording]) -> Result:
    rows = []
    for one, segments in zip(together, _hear_together(recognizer, together), strict=True):
        row = {"id": one.id, "speaker": one.cuts[0].supervisions[0].speaker, "ref": one.text}
        row["text"] = " ".join(segment.text for segment in segments)
        rows.append(row | {"segments": len(segments), "duration_s": one.duration_s})
    return {"rows": rows}


def _hear_together(recognizer: Recognizer, together: Sequence[Recording]) -> list[list[Segment]]:
    """The segments of recordings that are streamed side by side."""
    engine = BatchEngine(recognizer)
    sessions = [engine.stream() for _ in together]
    for session, one in zip(sessions, together, strict=True):
        samples = np.concatenate([cut.load_audio()[0] for cut in one.cuts])
        session.accept(samples, one.cuts[0].sampling_rate)
    events: dict[int, list[Event]] = {id(session): [] for session in sessions}
    while found := engine.advance():
        for session, said in found:
            events[id(session)] += said
    for session in sessions:
        events[id(session)] += session.finish()
    return [[event.segment for event in said if isinstance(event, Final)] for said in events.values()]
