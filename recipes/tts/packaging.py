"""Stage package: the voice directory."""

import io
import json
import shutil
from pathlib import Path

import soundfile

from recipes.tts.card import voice_card
from recipes.tts.context import TTSContext
from recipes.tts.synthesis import SYNTHESISED, held_out
from s4speech.config.voice import VoiceConfig
from s4speech.files import write_by_rename
from s4speech.models.voice import save_voice


def package(context: TTSContext, folder: Path) -> None:
    """The voice in a folder named as the package, with its card and samples."""
    config = context.config.package
    scores = json.loads((context.exp_dir / "score" / "scores.json").read_text("utf-8"))
    unfinished, target = folder / f".{config.name}.part", folder / config.name
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    write_voice(context, unfinished, scores["table"], scores["notes"])
    spoken = context.exp_dir / "synthesize"
    for one in held_out(spoken)[: config.samples]:
        (unfinished / "samples").mkdir(exist_ok=True)
        samples, rate = soundfile.read(spoken / SYNTHESISED / f"{one.id}.wav", dtype="int16")
        written = io.BytesIO()
        soundfile.write(written, samples, rate, format="FLAC", subtype="PCM_16")
        write_by_rename(unfinished / "samples" / f"{one.id}.flac", written.getvalue())
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    context.say(f"package: the voice is in {target}, {size / 1e6:.1f} MB")


def write_voice(context: TTSContext, folder: Path, table: list[dict[str, str]], notes: list[str]) -> None:
    """The voice directory in an empty folder. Raises InputError: the acoustic model is not a parallel one."""
    config = context.config
    model, vocoder = context.trained_acoustic(), context.final_vocoder()
    voice = VoiceConfig(
        language=config.package.language,
        unit=config.text.unit,
        symbols=list(context.symbols),
        speakers=list(context.speakers),
        mel=config.mel,
        model=model.config,
        vocoder=config.vocoder,
        noise_scale=config.synthesize.noise_scale,
    )
    card = voice_card(context, model, vocoder, table, notes)
    save_voice(folder, voice, model, vocoder, card, half=config.package.half)
