"""The synthesiser: a voice directory, loaded once, that turns text into samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from s4speech.errors import InputError
from s4speech.models.g2p import load_g2p
from s4speech.models.tts.parallel import FrozenParallelModel, Plan
from s4speech.models.voice import Voice, load_voice
from s4speech.streaming.pretrained import LETTER_TO_SOUND, find_model, letter_to_sound
from s4speech.streaming.script import (
    Reader,
    Script,
    Silence,
    SpeechOptions,
    Text,
    Utterance,
    gain,
    read_script,
    speaker_number,
)
from s4speech.text.characters import Speller
from s4speech.text.phonemes import Pronouncer

Samples = NDArray[np.float32]

FIRST_CHUNK_S = 0.25
WHOLE_CHUNK_S = 8.0  # where nobody waits for the first chunk: a fifth less work
_LONGEST_CHUNK_S = 2.0
_MOST_SEMITONES = 24.0
_AS_TRAINED = SpeechOptions()


@dataclass(frozen=True)
class WordTiming:
    """A word as it was spoken (numbers in words) and where it is in the audio."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Speech:
    """samples: (S,) float32, within [-1, 1] but for a loud volume. words: in order."""

    samples: Samples
    sample_rate: int
    words: tuple[WordTiming, ...]

    @property
    def duration_s(self) -> float:
        """Seconds of audio."""
        return len(self.samples) / self.sample_rate


class Chunk(Speech):
    """A piece of speech; words: those that begin in it, their times counted from the first chunk."""


class Synthesizer:
    """A loaded voice. Immutable: any number of threads may use one at a time.

    >>> synthesizer = Synthesizer.load("exp/kathleen_tts/package/en-tts")
    >>> synthesizer.synthesize("It is half past nine.").samples
    """

    def __init__(self, voice: Voice, unknown: Callable[[str], tuple[str, ...]] | None = None) -> None:
        """Take a voice from `load_voice` and freeze its models: constants are computed here, once.

        unknown: letter-to-sound for the words that the lexicon lacks; None: they are spelled.
        """
        config = voice.config
        self.config = config
        self.sample_rate_hz: int = config.mel.sample_rate
        self.speakers: tuple[str, ...] = tuple(config.speakers)
        self._acoustic: FrozenParallelModel = voice.model.freeze()
        self._vocoder = voice.vocoder.freeze()
        self.reader: Reader = Pronouncer(unknown) if config.unit == "phonemes" else Speller()
        self._ids = {symbol: number for number, symbol in enumerate(config.symbols)}
        self._step_s = config.mel.hop_s * config.model.stack

    @classmethod
    def load(
        cls, name_or_dir: str | Path = "en-tts", *, g2p: str | Path | None = LETTER_TO_SOUND
    ) -> Synthesizer:
        """Load a bundled voice by name, or a voice directory.

        g2p: another directory of letter-to-sound rules than the bundled one; None: unknown words are spelled.

        Raises InputError: no such voice, a model of another kind, or a missing or foreign file in it.
        """
        voice = load_voice(find_model(name_or_dir, "tts"))
        if g2p is None or voice.config.unit == "characters":
            return cls(voice)
        return cls(voice, letter_to_sound() if g2p == LETTER_TO_SOUND else load_g2p(g2p))

    def synthesize(
        self,
        text: Text,
        *,
        ssml: bool | None = None,
        speaker: str | int | None = None,
        length_scale: float = 1.0,
        pitch: float = 0.0,
        volume: float = 1.0,
        sentence_silence_s: float = 0.2,
    ) -> Speech:
        """Say a whole text, of any length: the chunks of `stream`, joined. Its arguments."""
        chunks = list(
            self.stream(
                text,
                ssml=ssml,
                speaker=speaker,
                length_scale=length_scale,
                pitch=pitch,
                volume=volume,
                sentence_silence_s=sentence_silence_s,
                first_chunk_s=WHOLE_CHUNK_S,
            )
        )
        return Speech(
            np.concatenate([chunk.samples for chunk in chunks]),
            self.sample_rate_hz,
            tuple(word for chunk in chunks for word in chunk.words),
        )

    def stream(
        self,
        text: Text,
        *,
        ssml: bool | None = None,
        speaker: str | int | None = None,
        length_scale: float = 1.0,
        pitch: float = 0.0,
        volume: float = 1.0,
        sentence_silence_s: float = 0.2,
        first_chunk_s: float = FIRST_CHUNK_S,
    ) -> Iterator[Chunk]:
        """Say a text while it is made; the first chunk comes after the same time for a text of any length.

        Args:
            text: plain text with [[phonemes]], or SSML; or pieces of text as they come (a line each, or a
                token of a language model): a sentence is said when the next one begins.
            ssml: whether it is SSML; None: if it begins with <speak (pieces of text do not).
            speaker: name or number of one of `speakers`; None: the first.
            length_scale: factor on durations, 0.1 to 10; 2 is half as fast.
            pitch: semitones, -24 to 24.
            volume: factor on the samples, 0 to 10.
            sentence_silence_s: between sentences, 0 to 60; twice that between paragraphs.
            first_chunk_s: audio made before the first chunk is given; later ones are longer.

        Raises InputError, before anything is made: nothing to say, bad SSML (line and column), no such
        speaker, an option out of range, [[phonemes]] that are none (of pieces of text: when they are said).
        """
        options = SpeechOptions(length_scale, pitch, volume, sentence_silence_s)
        if not 0 < first_chunk_s <= 60:
            raise InputError(f"first_chunk_s: got {first_chunk_s:g}; wanted more than 0, at most 60")
        number = speaker_number(self.speakers, speaker)
        script = read_script(text, self.reader, ssml, sentence_silence_s)
        return self.say(script, number, options, first_chunk_s=first_chunk_s)

    def describe(self, text: Text, *, ssml: bool | None = None) -> Iterator[tuple[str, str]]:
        """(normalised text, phonemes) of each sentence, lazily. Raises InputError as `stream` does."""
        script = read_script(text, self.reader, ssml)
        return ((item.spoken, item.phonemes) for item in script if isinstance(item, Utterance))

    def say(
        self,
        script: Script,
        speaker: int = 0,
        options: SpeechOptions = _AS_TRAINED,
        *,
        first_chunk_s: float = FIRST_CHUNK_S,
    ) -> Iterator[Chunk]:
        """Say what `read_script` made of a text with `reader`; speaker: a number. Else as `stream`."""
        rate, position = self.sample_rate_hz, 0
        sizes = self._sizes(first_chunk_s)
        for item in script:
            if isinstance(item, Silence):
                quiet = np.zeros(round(item.seconds * rate), np.float32)
                yield Chunk(quiet, rate, ())
                position += len(quiet)
                continue
            plan = self._plan(item, speaker, options)
            words = _timings(item, plan, position, self.config.mel.hop, rate)
            gains = _gains(item, plan, options.volume, self.config.mel.hop)
            start = position
            for samples in self._frames(plan, sizes):
                stop = position + len(samples)
                begun = [word for word in words if word.start_s * rate < stop]
                words = words[len(begun) :]
                yield Chunk(gains(samples, position - start), rate, tuple(begun))
                position = stop

    def _sizes(self, first_s: float) -> Iterator[int]:
        """Decoder steps of each chunk: the first is short, each is twice as long as the one before."""
        longest = max(1, round(max(first_s, _LONGEST_CHUNK_S) / self._step_s))
        size = max(1, round(first_s / self._step_s))
        # what the vocoder keeps back of the first chunk is not heard
        kept_s = (self._vocoder.lag * self._vocoder.hop + self._vocoder.side) / self.sample_rate_hz
        yield size + math.ceil(kept_s / self._step_s)
        while True:
            size = min(2 * size, longest)
            yield size

    def _plan(self, utterance: Utterance, speaker: int, options: SpeechOptions) -> Plan:
        prosody = utterance.prosody
        slowness = torch.tensor([options.length_scale / one.rate for one in prosody])
        semitones = torch.tensor([options.pitch + one.pitch for one in prosody])
        tokens = torch.tensor([self._ids[token] for token in utterance.phones.tokens])
        return self._acoustic.plan(
            tokens,
            speaker,
            slowness=slowness,
            semitones=semitones.clamp(-_MOST_SEMITONES, _MOST_SEMITONES),
        )

    def _frames(self, plan: Plan, sizes: Iterator[int]) -> Iterator[Samples]:
        """Samples of an utterance, as they become final."""
        state, vocoder = self._acoustic.init_state(), self._vocoder.init_state()
        start, steps = 0, plan.inputs.shape[1]
        while start < steps:
            stop = min(start + next(sizes), steps)
            frames, state = self._acoustic.scan(plan, start, stop, state)
            with torch.inference_mode():
                stack = self.config.model.stack
                f0 = frames.f0 * plan.shift[start * stack : stop * stack].exp()
            samples, vocoder = self._vocoder.scan(frames.mel, f0, vocoder)
            if stop == steps:
                samples = torch.cat([samples, self._vocoder.finish(vocoder)], 1)
            if samples.shape[1]:
                yield samples[0].numpy()
            start = stop


def _timings(utterance: Utterance, plan: Plan, position: int, hop: int, rate: int) -> list[WordTiming]:
    """Words of an utterance that begins at the sample `position`."""
    ends = [0, *plan.durations.cumsum(0).tolist()]
    return [
        WordTiming(
            word.text, (position + ends[word.start] * hop) / rate, (position + ends[word.stop] * hop) / rate
        )
        for word in utterance.phones.words
    ]


def _gains(utterance: Utterance, plan: Plan, volume: float, hop: int) -> Callable[[Samples, int], Samples]:
    """A function of samples, and the place of the first in the utterance -> the samples at their volume."""
    levels = [volume * gain(one.volume) for one in utterance.prosody]
    if len(set(levels)) == 1:
        return lambda samples, _: samples if levels[0] == 1.0 else samples * np.float32(levels[0])
    of_frame = np.repeat(levels, plan.durations.numpy())
    centres = (np.arange(len(of_frame)) + 0.5) * hop

    def apply(samples: Samples, start: int) -> Samples:
        # from the middle of a frame to the middle of the next: a step would click
        place = np.arange(start, start + len(samples))
        louder: Samples = (samples * np.interp(place, centres, of_frame)).astype(np.float32)
        return louder

    return apply
