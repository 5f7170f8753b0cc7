"""Stage synthesize: every held-out text, recorded, copied and spoken by the models, as WAV files."""

import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet
from lhotse.cut import Cut
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.tensorboard import SummaryWriter

from recipes.tts.config import TTSRecipe
from recipes.tts.context import TTSContext
from recipes.tts.griffin_lim import griffin_lim
from recipes.tts.loaders import dataset
from recipes.tts.plots import plot_alignment, plot_speech
from recipes.tts.voices import AcousticModel, Said, led, speaker_of
from s4speech.config.base import load_config
from s4speech.data.speech import SpeechBatch, samples_of
from s4speech.errors import InputError
from s4speech.files import write_by_rename

REAL, RETAKE = "real", "retake"
GRIFFIN_LIM, VOCODER = "griffin_lim", "vocoder"
SYNTHESISED, SYNTHESISED_GRIFFIN_LIM = "synthesised", "synthesised_griffin_lim"
PLOTS, BOARD = "plots", "tensorboard"
LABELS = {
    REAL: "real",
    RETAKE: "real, 2nd take",
    GRIFFIN_LIM: "copy, Gr.-Lim",
    VOCODER: "copy, vocoder",
    SYNTHESISED: "synthesised",
    SYNTHESISED_GRIFFIN_LIM: "synth., Gr.-Lim",
}


@dataclass(frozen=True)
class HeldOut:
    """A held-out text. id: of the recording it is compared with; retake: of another, where there is one."""

    id: str
    speaker: str
    text: str
    retake: str | None


def compared(context: TTSContext) -> dict[str, TTSContext]:
    """The other recipes whose acoustic models speak too, by name. Raises InputError: one cannot be read, has
    the name of a system, or frames that are not this recipe's."""
    found = {}
    for name, path in context.config.synthesize.compare.items():
        if name in (*LABELS, PLOTS, BOARD):
            raise InputError(f"synthesize.compare: {name!r} is a folder of the stage's own; rename it")
        config = load_config(TTSRecipe, Path(path))
        if config.mel != context.config.mel:
            raise InputError(
                f"synthesize.compare: {name}: section mel of {path} is not this recipe's, whose vocoder "
                "cannot speak such frames; train it with the same"
            )
        found[name] = TTSContext(config, context.console, context.command)
    return found


def compared_files(context: TTSContext) -> list[Path]:
    """What changes when one of their trainings does."""
    return [other.exp_dir / "train" / "done.json" for other in compared(context).values()]


def systems(context: TTSContext) -> dict[str, str]:
    """What is scored, in this order, with its label."""
    return LABELS | {name: name for name in context.config.synthesize.compare}


def held_out(folder: Path) -> list[HeldOut]:
    """What the stage wrote about its texts, from its folder."""
    return [HeldOut(**row) for row in json.loads((folder / "texts.json").read_text("utf-8"))]


def synthesize(context: TTSContext, folder: Path) -> None:
    """SYSTEM/ID.wav of one recording a text; plots and TensorBoard audio of some. A written one is kept."""
    config, rate = context.config.synthesize, context.config.mel.sample_rate
    cuts = {cut.id: cut for cut in context.cuts("test")}
    chosen = one_a_text(context, cuts.values())[: config.texts]
    for name in (*systems(context), PLOTS):
        (folder / name).mkdir(exist_ok=True)
    studio = _Studio(context, cuts)
    data = dataset(context, aligned=True)
    board = SummaryWriter(str(folder / BOARD))
    progress = track(chosen, "synthesize", console=context.console, disable=not context.console.is_terminal)
    for number, one in enumerate(progress):
        batch = data[CutSet.from_cuts([cuts[one.id]])]
        for name in systems(context):
            path = folder / name / f"{one.id}.wav"
            if not path.exists() and (name != RETAKE or one.retake):
                write_wav(path, studio.samples(name, one, batch), rate)
        if number < config.plots:
            _plot(studio, one, batch, folder / PLOTS)
            for name in systems(context):
                path = folder / name / f"{one.id}.wav"
                if path.exists():
                    samples, _ = soundfile.read(path, dtype="float32")
                    board.add_audio(f"{one.id}/{name}", samples, sample_rate=rate)
    board.close()
    rows = json.dumps([asdict(one) for one in chosen], ensure_ascii=False, indent=1)
    write_by_rename(folder / "texts.json", rows)
    context.say(f"synthesize: {len(chosen)} texts by {len(systems(context))} systems in {folder}")


def one_a_text(context: TTSContext, cuts: Iterable[Cut]) -> list[HeldOut]:
    """The first recording of each text of each speaker, in the order of the cuts, and its second one."""
    takes: dict[tuple[str, tuple[int, ...]], list[Cut]] = {}
    for cut in cuts:
        key = cut.supervisions[0].speaker, tuple(context.token_ids[cut.id])
        takes.setdefault(key, []).append(cut)
    return [
        HeldOut(first.id, speaker, first.supervisions[0].text, more[0].id if more else None)
        for (speaker, _), (first, *more) in takes.items()
    ]


def write_wav(path: Path, samples: NDArray[np.float32], sample_rate: int) -> None:
    """Samples (S,) as 16 bit, those beyond full scale clipped; there whole or not at all."""
    written = io.BytesIO()
    soundfile.write(written, np.clip(samples, -1, 1), sample_rate, format="WAV", subtype="PCM_16")
    write_by_rename(path, written.getvalue())


class _Studio:
    """Everything that speaks, with the models loaded."""

    def __init__(self, context: TTSContext, cuts: dict[str, Cut]) -> None:
        self.context, self.cuts = context, cuts
        self.model: AcousticModel = context.trained_model()
        self.copier, self.vocoder = context.recording_vocoder(), context.final_vocoder()
        self._voices = {SYNTHESISED: (context, speaker_of(self.model))}
        for name, other in compared(context).items():
            self._voices[name] = other, speaker_of(other.trained_model())
        self._said: dict[tuple[str, str], Said] = {}

    def samples(self, system: str, one: HeldOut, batch: SpeechBatch) -> NDArray[np.float32]:
        """(S,) of a text by a system; batch: the recording."""
        mel, iterations = self.context.config.mel, self.context.config.synthesize.iterations
        if system == REAL:
            return samples_of(self.cuts[one.id])
        if system == RETAKE:
            return samples_of(self.cuts[str(one.retake)])
        with torch.inference_mode():
            if system == GRIFFIN_LIM:
                made = griffin_lim(batch.mel[0], mel, iterations)
            elif system == VOCODER:
                made = self.copier.whole(batch.mel, batch.f0)[0]
            elif system == SYNTHESISED_GRIFFIN_LIM:
                made = griffin_lim(self.said(SYNTHESISED, one).mel, mel, iterations)
            else:
                said = self.said(system, one)
                made = self.vocoder.whole(said.mel.unsqueeze(0), said.f0.unsqueeze(0))[0]
        found: NDArray[np.float32] = made.numpy()
        return found

    def said(self, system: str, one: HeldOut) -> Said:
        """What an acoustic model says of a text; that of the last text is kept.

        Raises InputError: another recipe has no such text.
        """
        if (system, one.id) not in self._said:
            self._said = {key: said for key, said in self._said.items() if key[1] == one.id}
            context, speak = self._voices[system]
            if one.id not in context.token_ids or one.speaker not in context.speakers:
                raise InputError(
                    f"synthesize.compare: {system}: {context.exp_dir} has no utterance {one.id} of "
                    f"{one.speaker}; its corpus is another"
                )
            tokens = torch.tensor(context.token_ids[one.id])
            self._said[system, one.id] = speak(tokens, context.speakers[one.speaker])
        return self._said[system, one.id]


def _plot(studio: _Studio, one: HeldOut, batch: SpeechBatch, folder: Path) -> None:
    """Frames and F0 of the recording, of the model led by it, and of the model alone; its alignment as a
    picture, with the durations of the recording in red."""
    mel, f0 = led(studio.model, batch)
    said = studio.said(SYNTHESISED, one)
    heard = batch.f0[0] * batch.voiced[0]
    panels = [("recording", batch.mel[0]), ("led by the recording", mel), ("from the text", said.mel)]
    pitch = [("recording", heard), ("led by the recording", f0), ("from the text", said.f0)]
    plot_speech(panels, pitch, folder / f"{one.id}.frames.png")
    symbols = [str(token) for token in studio.context.spoken[one.id]["tokens"]]
    picture = said.alignment.clamp(min=1e-9).log()
    plot_alignment(picture, batch.durations[0], symbols, folder / f"{one.id}.alignment.png")
