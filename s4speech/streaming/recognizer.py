"""The recogniser: a model directory, loaded once, that turns samples into text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from s4speech.audio.io import Source, prepare_samples, read_blocks
from s4speech.config.asr import StreamingEncoderConfig
from s4speech.config.streaming import EndpointRule, SearchOptions, StreamingConfig
from s4speech.errors import InputError
from s4speech.models.asr.streaming import StreamingASRModel
from s4speech.models.lm import LanguageModel, load_scorer
from s4speech.models.package import ASRPackage, ASRPackageConfig, load_asr
from s4speech.search.hotwords import Hotwords, Phrase, read_hotwords
from s4speech.search.hypothesis import Scorer
from s4speech.streaming.endpoint import check_rules
from s4speech.streaming.pretrained import find_model
from s4speech.streaming.recording import Block, decode_recording
from s4speech.streaming.segment import Setup
from s4speech.streaming.session import Session, check_samples
from s4speech.streaming.stream import Stream
from s4speech.streaming.transcript import Segment, Transcript
from s4speech.streaming.vad import SAMPLE_RATE_HZ, SpeechProbability, VoiceGate, silero
from s4speech.streaming.whole import OfflineWindows, StreamingWindows, WindowDecoder, WindowOptions
from s4speech.text.tokenizer import SOS

Progress = Callable[[float, float | None], None]  # seconds done, and in all if that is known

_MAX_CHUNK_MS = 20_000.0
DEFAULT_LM_WEIGHT = 0.5


class Recognizer:
    """A loaded recognition model. Immutable: any number of threads may use one at a time.

    >>> recognizer = Recognizer.load("exp/mini/package/mini-s4")
    >>> recognizer.transcribe_file("speech.flac").text
    """

    def __init__(self, package: ASRPackage, device: str = "cpu", *, lm: Scorer | None = None) -> None:
        """Take a package from `load_asr` and freeze its model: constants are computed here, once.

        lm: in place of the package's own language model.
        """
        self._device = torch.device(device)
        if lm is None:
            own = package.lm
            lm = own.to(self._device).freeze() if isinstance(own, LanguageModel) else own
        model = package.model.eval().requires_grad_(False).to(self._device)
        self.config, self.tokenizer = package.config, package.tokenizer
        self.sample_rate_hz: int = model.features.sample_rate
        self._streaming = package.config.streaming or StreamingConfig()
        self._setup: Setup | None = None
        self._windows: WindowDecoder
        if isinstance(model, StreamingASRModel):
            self._setup = Setup(
                model.freeze(),
                package.tokenizer,
                self._streaming.search,
                self._streaming.calibration,
                self._device,
                lm=lm,
            )
            self._windows = StreamingWindows(self._setup)
        else:
            self._windows = OfflineWindows(package, self._device, lm)

    @classmethod
    def load(
        cls,
        name_or_dir: str | Path = "en-asr",
        *,
        device: str = "cpu",
        lm: str | Path | None = None,
        lm_weight: float | None = None,
        length_bonus: float | None = None,
    ) -> Recognizer:
        """Load a bundled model by name, or a model directory.

        Args:
            device: where to compute: cpu, cuda, cuda:1.
            lm: a language model over the model's tokens, in place of its own: a model directory, or an n-gram
                file (ARPA, or KenLM's).
            lm_weight: of its log-probabilities; 0: not used. None: as the model's config.yaml says, or
                DEFAULT_LM_WEIGHT for a language model that the model has no weight for.
            length_bonus: natural log added for each token. None: as the model's config.yaml says.

        Raises InputError: no such model, a missing or foreign file in it, a language model of other tokens,
        or a weight of one that is not there.
        """
        package = load_asr(find_model(name_or_dir), device)
        if lm is None and lm_weight is not None and package.lm is None:
            raise InputError(f"lm_weight: {name_or_dir} has no language model; give one (lm)")
        if lm_weight is not None and not 0 <= lm_weight < math.inf:
            raise InputError(f"lm_weight: got {lm_weight}; wanted 0 or more")
        if length_bonus is not None and not math.isfinite(length_bonus):
            raise InputError(f"length_bonus: got {length_bonus}; wanted a number")
        config = package.config
        if lm is not None and lm_weight is None and not _lm_weight(config):
            lm_weight = DEFAULT_LM_WEIGHT
        package = replace(package, config=_reweighted(config, lm_weight, length_bonus))
        return cls(package, device, lm=None if lm is None else load_scorer(lm, package.tokenizer, device))

    @property
    def can_stream(self) -> bool:
        """The model can be used with `stream`."""
        return self._setup is not None

    @property
    def streaming(self) -> StreamingConfig:
        """What `stream` does unless told otherwise: the model's config.yaml, or the defaults."""
        return self._streaming

    def hotwords(self, phrases: Path | Iterable[str | Phrase], score: float | None = None) -> Hotwords:
        """Phrases, or the Path of a file of one a line, ready to be given to `stream` and `transcribe`.

        score: natural log added for each token of one; None: as the model's config.yaml says.

        Raises InputError: unreadable, one text in place of phrases, or a phrase that this model cannot write.
        """
        if isinstance(phrases, str):
            raise InputError(
                f"hotwords: got the text {phrases!r}; wanted a list of phrases, or the pathlib.Path of a file"
            )
        score = self._streaming.search.hotword_score if score is None else score
        if isinstance(phrases, Path):
            return read_hotwords(phrases, self.tokenizer, score)
        return Hotwords(phrases, self.tokenizer, score)

    def stream(
        self,
        *,
        chunk_ms: float | None = None,
        hotwords: Hotwords | Path | Iterable[str] | None = None,
        endpoints: Sequence[EndpointRule] | None = None,
        vad: bool | SpeechProbability = False,
        search: SearchOptions | None = None,
        lm: Scorer | None = None,
    ) -> Session:
        """Begin to listen.

        Args:
            chunk_ms: audio heard at once, rounded to whole encoder frames: less is sooner, more is better.
            hotwords: phrases to prefer, or the Path of a file of them: see `hotwords`.
            endpoints: when a segment ends.
            vad: hear only what silero-vad (True), or a function for this stream, takes for speech. It
                wants to know what follows: events come 0.3 s of audio later.
            search: the search's options.
            lm: a language model over the model's tokens, for a search whose lm_weight is not 0.

        None: as the model's config.yaml says. Raises InputError: the model cannot stream, an option out of
        range, or a language model of other tokens.
        """
        if self._setup is None:
            raise InputError(
                "stream: this model hears whole utterances only (encoder.type conformer); transcribe files"
                " with it, or use a model whose encoder.type is streaming"
            )
        chunk_ms = self._streaming.chunk_ms if chunk_ms is None else chunk_ms
        if not 0 < chunk_ms <= _MAX_CHUNK_MS:
            raise InputError(f"chunk_ms: got {chunk_ms}; wanted more than 0 and at most {_MAX_CHUNK_MS:g}")
        if lm is not None:
            self._check_lm(lm)
        gate = None
        if vad:
            if self.sample_rate_hz != SAMPLE_RATE_HZ:
                raise InputError(
                    f"vad: the model hears {self.sample_rate_hz} Hz, silero {SAMPLE_RATE_HZ}; leave it out"
                )
            gate = VoiceGate(silero() if vad is True else vad)
        setup = replace(
            self._setup,
            search=search or self._setup.search,
            hotwords=self._checked(hotwords),
            lm=lm or self._setup.lm,
        )
        rules = check_rules(self._streaming.endpoints if endpoints is None else endpoints)
        chunk_frames = max(1, round(chunk_ms / 1000 / setup.model.frame_shift_s))
        return Session(Stream(setup, rules, chunk_frames, gate))

    def transcribe(
        self,
        samples: NDArray[Any],
        sample_rate: int,
        *,
        beam: int | None = None,
        ctc_weight: float | None = None,
        hotwords: Hotwords | Path | Iterable[str] | None = None,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe a whole recording, of any length.

        It is cut at pauses into windows of at most 20 s, which are decoded a few at a time.

        Args:
            samples: (S,) or (S, channels), floats in [-1, 1] or signed integers.
            sample_rate: of ``samples``, in Hz.
            beam: hypotheses kept alive; more is slower and seldom better beyond 10. None: as the model's
                config.yaml says.
            ctc_weight: 0 (decoder only) to 1 (CTC only). None: as the model's config.yaml says.
            hotwords: phrases to prefer, or the Path of a file of them (streaming models): see `hotwords`.
            progress: called with (seconds done, seconds in all) now and then.

        Raises InputError: an option out of range, or samples that are too few, not finite or misshapen.
        """
        options = self._options(beam, ctc_weight, hotwords)
        wave = prepare_samples(
            samples, sample_rate, self.sample_rate_hz, min_samples=self._windows.min_samples
        )
        blocks = [(wave, self.sample_rate_hz)]
        return self._collect(blocks, options, "samples", len(wave) / self.sample_rate_hz, progress)

    def transcribe_file(
        self,
        source: Source,
        *,
        beam: int | None = None,
        ctc_weight: float | None = None,
        hotwords: Hotwords | Path | Iterable[str] | None = None,
        max_duration_s: float = math.inf,
        progress: Progress | None = None,
    ) -> Transcript:
        """Transcribe a file, ``"-"`` for standard input, or a binary file object: what `read_blocks` reads.

        It is read while it is transcribed, so the memory needed does not depend on its length. The rest as in
        `transcribe`, but progress is told None for the seconds in all where the source does not say.
        """
        options = self._options(beam, ctc_weight, hotwords)
        with read_blocks(source, max_duration_s=max_duration_s) as audio:
            blocks = ((block, audio.sample_rate_hz) for block in audio)
            return self._collect(blocks, options, audio.name, audio.duration_s, progress)

    def transcribe_stream(
        self,
        blocks: Iterable[tuple[NDArray[Any], int]],
        *,
        beam: int | None = None,
        ctc_weight: float | None = None,
        hotwords: Hotwords | Path | Iterable[str] | None = None,
    ) -> Iterator[Segment]:
        """The segments of `transcribe`, in order, of a recording that comes in blocks (samples, sample rate).

        The memory needed does not depend on its length. A segment comes up to some minutes of audio after its
        words; to have them at once, use `stream`. The rest as in `transcribe`, but InputError comes after the
        segments of what was good.
        """
        options = self._options(beam, ctc_weight, hotwords)
        mono = ((check_samples(samples, rate), rate) for samples, rate in blocks)
        decoded = decode_recording(self._windows, mono, options, "samples")
        return (segment for _, segment in decoded if segment is not None)

    def _options(
        self, beam: int | None, ctc_weight: float | None, hotwords: Hotwords | Path | Iterable[str] | None
    ) -> WindowOptions:
        if beam is not None and beam < 1:
            raise InputError(f"beam: got {beam}; wanted 1 or more")
        if ctc_weight is not None and not 0 <= ctc_weight <= 1:
            raise InputError(f"ctc_weight: got {ctc_weight}; wanted 0 to 1")
        return WindowOptions(beam, ctc_weight, self._checked(hotwords))

    def _check_lm(self, lm: Scorer) -> None:
        """Raises InputError: it scores other tokens than those of the model."""
        token = torch.tensor([SOS], device=self._device)
        with torch.inference_mode():
            size = lm.score(token, lm.init_state(1))[0].shape[1]
        if size != self.tokenizer.vocab_size:
            raise InputError(
                f"lm: it scores {size} tokens, the model has {self.tokenizer.vocab_size};"
                " wanted a language model over the model's tokens"
            )

    def _checked(self, hotwords: Hotwords | Path | Iterable[str] | None) -> Hotwords | None:
        return hotwords if hotwords is None or isinstance(hotwords, Hotwords) else self.hotwords(hotwords)

    def _collect(
        self,
        blocks: Iterable[Block],
        options: WindowOptions,
        name: str,
        total_s: float | None,
        progress: Progress | None,
    ) -> Transcript:
        """All segments of a recording."""
        segments: list[Segment] = []
        done_s = 0.0
        for done_s, segment in decode_recording(self._windows, blocks, options, name):
            if segment is not None:
                segments.append(segment)
            if progress is not None:
                progress(done_s, total_s)
        return Transcript(
            text=" ".join(segment.text for segment in segments),
            segments=tuple(segments),
            words=tuple(word for segment in segments for word in segment.words),
            duration_s=done_s,
        )


def _lm_weight(config: ASRPackageConfig) -> float:
    """With which a model uses a language model."""
    if isinstance(config.model.encoder, StreamingEncoderConfig):
        return (config.streaming or StreamingConfig()).search.lm_weight
    return config.decode.lm_weight


def _reweighted(
    config: ASRPackageConfig, lm_weight: float | None, length_bonus: float | None
) -> ASRPackageConfig:
    """The config with other weights in its search; None: as they are."""
    given = {"lm_weight": lm_weight, "length_bonus": length_bonus}
    update = {name: value for name, value in given.items() if value is not None}
    if lm_weight == 0:  # the bonus makes up for a language model
        update.setdefault("length_bonus", 0.0)
    if not isinstance(config.model.encoder, StreamingEncoderConfig):
        return config.model_copy(update={"decode": config.decode.model_copy(update=update)})
    streaming = config.streaming or StreamingConfig()
    search = streaming.search.model_copy(update=update)
    return config.model_copy(update={"streaming": streaming.model_copy(update={"search": search})})
