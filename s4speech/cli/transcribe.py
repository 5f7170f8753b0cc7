"""`s4speech transcribe`: recordings, pipes and the microphone to text."""

import math
import sys
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4speech.cli.inputs import (
    MICROPHONE,
    STANDARD_INPUT,
    Input,
    PCMOptions,
    check_input,
    check_whole,
    find_inputs,
    open_source,
)
from s4speech.cli.options import check_chunk, check_use
from s4speech.cli.output import Outputs
from s4speech.cli.progress import progress
from s4speech.cli.stop import StopSignals, end_on_sigterm
from s4speech.cli.stream import Listener
from s4speech.errors import InputError
from s4speech.models.directory import check_lm

if TYPE_CHECKING:
    from s4speech.audio.microphone import Microphone
    from s4speech.config.streaming import SearchOptions
    from s4speech.streaming.recognizer import Recognizer
    from s4speech.streaming.session import Session

DEFAULT_MODEL = "en-asr"


class Format(str, Enum):
    """Output formats: whisper's, and sclite's CTM."""

    txt = "txt"
    vtt = "vtt"
    srt = "srt"
    tsv = "tsv"
    json = "json"
    ctm = "ctm"
    all = "all"


def transcribe(
    files: Annotated[
        list[str] | None,
        typer.Argument(help="Audio of any format and rate, folders of it; - is standard input."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help=f"Model directory or bundled name; default: {DEFAULT_MODEL}."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Show words as they are said; any length, in constant memory.")
    ] = False,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to the microphone, until Ctrl-C.")] = False,
    mic_device: Annotated[
        str | None, typer.Option("--mic-device", help="Number or part of the name of an input device.")
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option(
            "--output_format",
            "-f",
            help="What to write (all: all but ctm); default: txt, or with --stream into a pipe json, a line"
            " for each event.",
        ),
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", "-o", help="Write <stem>.<format> here, not to the terminal."),
    ] = None,
    word_timestamps: Annotated[
        bool, typer.Option("--word_timestamps", help="Add each word's times to json.")
    ] = False,
    beam_size: Annotated[
        int | None, typer.Option("--beam_size", min=1, help="Hypotheses kept; default: as the model says.")
    ] = None,
    ctc_weight: Annotated[
        float | None,
        typer.Option("--ctc_weight", min=0, max=1, help="CTC's share; default: as the model says."),
    ] = None,
    lm: Annotated[
        Path | None,
        typer.Option(
            "--lm",
            help="Language model over the model's tokens, in place of its own: a model directory, or an"
            " n-gram file (ARPA, or KenLM's).",
        ),
    ] = None,
    lm_weight: Annotated[
        float | None,
        typer.Option(
            "--lm-weight", min=0, help="Of the language model; 0: without. Default: as the model says."
        ),
    ] = None,
    length_bonus: Annotated[
        float | None,
        typer.Option("--length-bonus", help="Added for each token, in nats; default: as the model says."),
    ] = None,
    max_line_width: Annotated[
        int | None, typer.Option("--max_line_width", min=1, help="Characters a line.")
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option("--max_duration", min=0, help="Longest recording taken, in seconds.")
    ] = None,
    chunk_ms: Annotated[
        float | None,
        typer.Option(
            "--chunk-ms",
            help="With --stream: audio heard at once, rounded to whole encoder frames (at least one);"
            " less is sooner and less exact.",
        ),
    ] = None,
    hotwords: Annotated[
        Path | None,
        typer.Option(
            "--hotwords", help="A file of words and phrases to expect, one a line (streaming models)."
        ),
    ] = None,
    vad: Annotated[
        bool, typer.Option("--vad", help="With --stream: pass over silence (silero-vad).")
    ] = False,
    simulate_realtime: Annotated[
        bool, typer.Option("--simulate-realtime", help="With --stream: read files no faster than they play.")
    ] = False,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            "--sample-rate", help="Of standard input without a header, or of the microphone, in Hz."
        ),
    ] = None,
    pcm_format: Annotated[
        str | None,
        typer.Option(
            "--pcm-format",
            help="Of standard input without a header: s16le, s24le, s32le, f32le, f64le, u8, mulaw or alaw.",
        ),
    ] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="Its channels; default: 1.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1 ...")] = "cpu",
) -> None:
    """Transcribe audio to the terminal, or to files with -o.

    Ctrl-C ends it: files that are done are kept. What was heard of the file in progress is written with
    --stream and --mic, and lost without.
    """
    # Everything that can be wrong with the request is found before torch is imported.
    directory = _checked_model(model)
    names = files or []
    live, stdin = stream or mic, STANDARD_INPUT in names
    limit_s = math.inf if max_duration is None else max_duration
    pcm = PCMOptions(sample_rate, pcm_format, channels)
    check_use(live, "--stream and --mic", chunk_ms=chunk_ms, vad=vad)
    check_use(stream and not mic, "files with --stream", simulate_realtime=simulate_realtime)
    check_use(not live, "files without --stream", ctc_weight=ctc_weight)
    check_use(mic, "--mic", mic_device=mic_device)
    check_use(mic or stdin, "standard input (-) and --mic", sample_rate=sample_rate)
    check_use(stdin, "standard input (-)", pcm_format=pcm_format, channels=channels)
    check_chunk(chunk_ms)
    if lm is not None:
        check_lm(lm)
    if hotwords is not None and not hotwords.is_fifo():  # a pipe can be read only once
        hotwords.open("rb").close()
    if mic == bool(names):
        what = "got files and --mic" if mic else "nothing to transcribe"
        raise InputError(f"transcribe: {what}; give audio files, folders, - for standard input, or --mic")
    inputs = [Input(MICROPHONE, Path("microphone"))] if mic else []
    tried = [_survives(partial(_add, inputs, name)) for name in names]
    outputs = Outputs(
        inputs,
        None if output_format is None else output_format.value,
        output_dir,
        streaming=live,
        word_timestamps=word_timestamps,
        max_line_width=max_line_width,
    )
    microphone = _microphone(mic_device, sample_rate) if mic else None
    good = [one for one in inputs if mic or _survives(partial(check_input, one, pcm, limit_s))]
    complete = all(tried) and len(good) == len(inputs)
    if good:
        fusion = {"lm": lm, "lm_weight": lm_weight, "length_bonus": length_bonus}
        given = {name: value for name, value in fusion.items() if value is not None}
        recognizer = _load(directory, device, **given)
        phrases = None if hotwords is None else recognizer.hotwords(hotwords)
        if live:
            session = partial(
                recognizer.stream,
                chunk_ms=chunk_ms,
                hotwords=phrases,
                vad=vad,
                search=_search_options(recognizer, beam_size),
            )
            listener = Listener(outputs, pcm, limit_s, simulate_realtime, microphone)
            complete &= _listen(session, listener, good)
        else:
            search = {"beam": beam_size, "ctc_weight": ctc_weight, "hotwords": phrases}
            whole = partial(_transcribe_whole, recognizer, outputs, pcm, search | {"max_duration_s": limit_s})
            with end_on_sigterm():
                complete &= all([_survives(partial(whole, one)) for one in good])
    if not complete:
        raise typer.Exit(2)


def _transcribe_whole(
    recognizer: "Recognizer", outputs: Outputs, pcm: PCMOptions, options: dict[str, Any], one: Input
) -> None:
    source = open_source(one, pcm)
    with progress(one.output.name) as report:
        transcript = recognizer.transcribe_file(source, progress=report, **options)
    outputs.write(one, transcript)
    check_whole(source)


def _listen(new_session: Callable[[], "Session"], listener: Listener, inputs: list[Input]) -> bool:
    """Transcribe the inputs as they are heard; False when one was bad. Raises Exit: a signal ended it."""
    complete = True
    with StopSignals() as stop:
        for one in inputs:
            if stop.received is None:
                session = new_session()  # options that are wrong for one are wrong for all
                complete &= _survives(partial(listener.transcribe, one, session, stop))
    if stop.received is not None:
        raise typer.Exit(stop.exit_code)
    return complete


def _load(directory: Path, device: str, **options: Any) -> "Recognizer":
    """Load the model, and a language model. Raises InputError: a wrong file, or the device is not there."""
    import torch

    from s4speech.streaming.recognizer import Recognizer

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"--device {device}: {why}; wanted cpu, or a device that is there") from error
    return Recognizer.load(directory, device=device, **options)


def _search_options(recognizer: "Recognizer", beam: int | None) -> "SearchOptions | None":
    """Return the model's own options with another beam; None: as they are."""
    return None if beam is None else recognizer.streaming.search.model_copy(update={"beam": beam})


def _microphone(device: str | None, sample_rate: int | None) -> "Microphone":
    from s4speech.audio.microphone import find_microphone

    return find_microphone(device, sample_rate)


def _add(inputs: list[Input], name: str) -> None:
    inputs += find_inputs(name)


def _checked_model(model: str | None) -> Path:
    from s4speech.streaming.pretrained import HOW_TO_TRAIN, bundled_models, find_model

    if model is None and DEFAULT_MODEL not in bundled_models():
        raise InputError(f"transcribe: no model given; give a model directory with -m DIR, or {HOW_TO_TRAIN}")
    return find_model(model or DEFAULT_MODEL)


def _survives(work: Callable[[], None]) -> bool:
    """Do ``work`` and return True; on bad input print the error and return False, so that others go on."""
    try:
        work()
    except InputError as error:
        print(f"s4speech: {error}", file=sys.stderr)
        return False
    except BrokenPipeError as error:  # the reader of our output has seen enough
        raise typer.Exit(0) from error
    except OSError as error:
        if error.filename is None:
            raise
        print(f"s4speech: {error.filename}: {error.strerror}", file=sys.stderr)
        return False
    return True
