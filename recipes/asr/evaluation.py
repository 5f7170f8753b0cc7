"""Stages decode, score and package."""

import json
import platform
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lhotse.cut import Cut
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

from recipes.asr.config import DecodeStageConfig, FusedLM, Unit
from recipes.asr.context import ASRContext
from recipes.asr.gains import add_gains, gain_table, gains
from recipes.asr.lms import chosen_lms, load_lms
from recipes.asr.pretrained import has_language_model
from recipes.asr.report import report as write_pages
from recipes.asr.shards import Result, Shards, Work
from recipes.asr.training import averaged_model
from recipes.context import commit
from s4speech.config.streaming import StreamingConfig
from s4speech.data.asr import ASRDataset
from s4speech.files import write_by_rename
from s4speech.metrics.alignment import listing
from s4speech.metrics.error_rate import ErrorReport
from s4speech.metrics.error_rate import score as error_report
from s4speech.metrics.report import format_report, report_as_dict
from s4speech.metrics.trn import write_trn
from s4speech.models.asr.decoder import FrozenDecoder
from s4speech.models.asr.model import ASRModel
from s4speech.models.asr.recognize import Heard, Method, hear, search
from s4speech.models.package import ASRPackageConfig, DecodeConfig, save_asr
from s4speech.search.hypothesis import Hypothesis, Scorer

LABELS: dict[Method, str] = {
    "ctc_greedy": "CTC greedy",
    "ctc_prefix_beam": "CTC prefix",
    "joint": "joint beam",
}
JOINT: Method = "joint"


class Decoding(NamedTuple):
    """One way to decode. lm: the language model's name."""

    method: Method
    label: str
    lm: str | None = None


def decodings(context: ASRContext) -> dict[str, Decoding]:
    """By the key of their texts: each method, and joint with each language model."""
    config = context.config.decode
    found = {method: Decoding(method, LABELS[method]) for method in config.methods}
    return found | {f"{JOINT}+{name}": Decoding(JOINT, f"joint + {name}", name) for name in config.lms}


def decode(context: ASRContext, folder: Path) -> None:
    """Every test part by each of `decodings` -> PART.jsonl; a part or batch that is written is not redone."""
    config = context.config.decode
    parts = {part: folder / f"{part}.jsonl" for part in context.config.corpus.all_tests}
    cuts = {part: context.cuts(f"test/{part}") for part, path in parts.items() if not path.exists()}
    shards = Shards(
        folder, {part: duration_batches(own, config.max_duration_s) for part, own in cuts.items()}
    )
    shards.run(context, _prepare, "decode")
    for part, own in cuts.items():
        results = shards.results(part)
        audio_s = sum(cut.duration for cut in own)
        seconds = total_seconds(results)
        before_s = seconds["features"] + seconds["encoder"]
        rtf = {key: (before_s + seconds[key]) / audio_s for key in decodings(context)}
        timing = {"part": part, "audio_s": audio_s, "seconds": seconds, "rtf": rtf, "beam": config.beam}
        write_by_rename(folder / f"{part}.timing.json", json.dumps(timing | hardware(context), indent=1))
        write_by_rename(parts[part], json_lines(row for result in results for row in result["rows"]))
        told = ", ".join(f"{rtf[key]:.3f} ({one.label})" for key, one in decodings(context).items())
        context.say(f"decode {part}: real-time factor {told}")
    shards.remove()


def _prepare(context: ASRContext) -> Work:
    model = averaged_model(context).to(context.decode_device)
    return partial(_decode_batch, context, model, model.decoder.freeze(), load_lms(context))


def _decode_batch(
    context: ASRContext,
    model: ASRModel,
    frozen: FrozenDecoder,
    lms: Mapping[str, Scorer],
    batch: Sequence[Cut],
) -> Result:
    config, tokenizer, chosen = context.config.decode, context.tokenizer, chosen_lms(context)
    rows: list[dict[str, Any]] = [
        {"id": cut.id, "speaker": cut.supervisions[0].speaker, "ref": cut.supervisions[0].text, "nbest": {}}
        for cut in batch
    ]
    clock = Clock(context.decode_device)
    heard = hear_cuts(context, model, batch, clock)
    for key, one in decodings(context).items():
        fused = None if one.lm is None else (lms[one.lm], chosen[one.lm])
        found = search_as(config, one.method, frozen, heard, fused, nbest=min(3, config.beam))
        clock.lap(key)
        for row, best in zip(rows, found, strict=True):
            row[key] = tokenizer.decode(best[0].tokens)
            row["nbest"][key] = [
                {"text": tokenizer.decode(h.tokens), "score": h.score, "scores": h.scores} for h in best
            ]
    return {"rows": rows, "seconds": clock.seconds}


def search_as(
    config: DecodeStageConfig,
    method: Method,
    frozen: FrozenDecoder,
    heard: Heard,
    fused: tuple[Scorer, FusedLM] | None,
    *,
    nbest: int = 1,
) -> list[list[Hypothesis]]:
    """The search that `decode` of a config means. fused: a language model and how it is used, or none."""
    if fused is None:
        return search(method, frozen, heard, beam=config.beam, ctc_weight=config.ctc_weight, nbest=nbest)
    scorer, lm = fused
    return search(
        method,
        frozen,
        heard,
        beam=config.beam,
        ctc_weight=config.ctc_weight if lm.ctc_weight is None else lm.ctc_weight,
        nbest=nbest,
        lm=(scorer, lm.weight),
        length_bonus=lm.length_bonus,
    )


def score(context: ASRContext, folder: Path) -> None:
    """Error rates of every part and decoding: tables, alignments, TRN files, a page a part, results.json.

    Alignments and the main rate are in `score.unit`. Of what was decoded with a language model also what it
    gains, and whether by chance.
    """
    results: dict[str, Any] = {}
    unit = context.config.score.unit
    main, *other = [f"{name} %" for name in rate_names(unit)]
    # fits a terminal of 80 columns
    table = Table("part", "decoding", f"{unit}s", main, "95 %", "sub", "del", "ins", *other, box=None)
    gained = gain_table()
    reports: dict[str, dict[str, ErrorReport]] = {}
    for part in context.config.corpus.all_tests:
        lines = (context.exp_dir / "decode" / f"{part}.jsonl").read_text("utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        refs = {row["id"]: row["ref"] for row in rows}
        speakers = {row["id"]: row["speaker"] for row in rows}
        write_trn(folder / f"{part}.ref.trn", refs)
        joint: dict[str, ErrorReport] = {}
        reports[part] = {}
        for key, one in decodings(context).items():
            report = error_report(refs, {row["id"]: row[key] for row in rows}, speakers, unit=unit)
            write_trn(folder / f"{part}.{key}.trn", {row["id"]: row[key] for row in rows})
            text = f"{format_report(report)}\n{listing(report.alignments)}"
            write_by_rename(folder / f"{part}.{key}.txt", text)
            results[f"{part}/{key}"] = report_as_dict(report)
            reports[part][one.label] = report
            if one.method == JOINT:
                joint[key] = report
            w, (low, high) = report.counts, report.interval
            counts = [str(n) for n in (w.substitutions, w.deletions, w.insertions)]
            others = [f"{100 * report.cer:.2f}" for _ in other]
            table.add_row(
                part, one.label, str(w.reference),
                f"{100 * w.rate:.2f}", f"{100 * low:.1f}-{100 * high:.1f}", *counts, *others,
            )  # fmt: skip
        for key, against in gains(joint).items():
            results[f"{part}/{key}"]["against"] = against
        add_gains(gained, part, gains(joint))
    write_by_rename(folder / "results.json", json.dumps(results, indent=1))
    context.console.print(table)
    if gained.row_count:
        context.console.print(gained)
    write_pages(context, folder, reports)


def package(context: ASRContext, folder: Path) -> None:
    """The model directory, in a folder named as the package."""
    results = json.loads((context.exp_dir / "score" / "results.json").read_text("utf-8"))
    names = rate_names(context.config.score.unit)
    rows = [["part / decoding", *(f"{name} %" for name in names)], ["---"] * (1 + len(names))]
    for key, one in results.items():
        rows.append([key, *(f"{100 * one[name.lower()]:.2f}" for name in names)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    write_package(context, folder, None, card(context, "Conformer encoder", table))


def rate_names(unit: Unit) -> list[str]:
    """The error rates that are shown, the main one first: words of a script without spaces are not known."""
    return ["WER", "CER"] if unit == "word" else ["CER"]


def write_package(
    context: ASRContext, folder: Path, streaming: StreamingConfig | None, model_card: str
) -> None:
    """Save the averaged model; how it streams, and its language model, are part of its config."""
    config, lm = context.config, context.language_model
    package_config = ASRPackageConfig(
        language=config.package.language,
        model=context.model_config(),
        decode=packaged_decoding(context),
        streaming=streaming,
        lm=None if lm is None else lm.config,
    )
    target = folder / config.package.name
    unfinished = folder / f".{config.package.name}.part"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    model, half = averaged_model(context), config.package.half
    save_asr(unfinished, package_config, model, context.tokenizer_path, model_card, lm=lm, half=half)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    context.say(f"package: the model is in {target}")
    if lm is None and has_language_model(context):
        key = "streaming.lm" if context.config.streams else "decode.lms and decode.packaged_lm"
        told = f"package: without the language model of {config.pretrained}; name that in {key} to keep it"
        context.say(told)


def packaged_decoding(context: ASRContext) -> DecodeConfig:
    """`decode` of the model directory: with the language model in it, as that one is used."""
    config = context.config.decode
    found = DecodeConfig(beam=config.beam, ctc_weight=config.ctc_weight)
    if context.config.streams or config.packaged_lm is None:
        return found
    fused = chosen_lms(context)[config.packaged_lm]
    update = {
        "lm_weight": fused.weight,
        "length_bonus": fused.length_bonus,
        "lm_ctc_weight": fused.ctc_weight,
    }
    return found.model_copy(update=update)


def card(context: ASRContext, encoder: str, results: str, limits: Sequence[str] = ()) -> str:
    """The model card: results are Markdown; limits, of this kind of model, come after those of all."""
    config = context.config
    facts = {
        "Weights": None if config.pretrained is None else f"of `{config.pretrained}`, trained there",
        "Training data": config.package.data,
        "Licence": config.package.licence,
        "Credit": config.package.credit,
        "Command": f"`{context.command}`",
        "Commit": commit(),
        "Hardware": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "Limits": "; ".join(
            [
                f"trained on the speech of {config.corpus.name} alone"
                if config.pretrained is None
                else "those of its training",
                "other microphones, accents and noise will do worse",
                *limits,
            ]
        ),
    }
    told = "\n".join(f"- {name}: {fact}" for name, fact in facts.items() if fact is not None)
    return f"""# {config.package.name}

Speech recognition, language `{config.package.language}`: {encoder}, CTC and
{config.model.decoder.type} decoder, made with s4speech.

{results}

{told}
"""


def duration_batches(cuts: Iterable[Cut], max_duration_s: float) -> list[list[Cut]]:
    """Cuts of like duration together, at most so many seconds with padding."""
    batches: list[list[Cut]] = [[]]
    for cut in sorted(cuts, key=lambda cut: cut.duration):
        if batches[-1] and cut.duration * (len(batches[-1]) + 1) > max_duration_s:
            batches.append([])
        batches[-1].append(cut)
    return [batch for batch in batches if batch]


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def hardware(context: ASRContext) -> dict[str, Any]:
    """That a decoding stage took its time on."""
    processes = context.config.decode.processes
    threads = torch.get_num_threads() if processes == 1 else 1
    return {"threads": threads, "processes": processes, "device": str(context.decode_device)}


def total_seconds(results: Sequence[Result]) -> dict[str, float]:
    """The seconds of all batches, by what they were spent on."""
    total: dict[str, float] = defaultdict(float)
    for result in results:
        for name, value in result["seconds"].items():
            total[name] += value
    return total


def hear_cuts(context: ASRContext, model: ASRModel, batch: Sequence[Cut], clock: "Clock") -> Heard:
    """What the encoder makes of some cuts."""
    dataset = ASRDataset(model.features, context.tokenizer.encode)
    mel = [dataset.cut_features(cut) for cut in batch]
    clock.lap("features")
    frames = torch.tensor([len(m) for m in mel])
    device = context.decode_device
    heard = hear(model, pad_sequence(mel, batch_first=True).to(device), frames.to(device))
    clock.lap("encoder")
    return heard


class Clock:
    """Adds the time since the last lap to a named total; a GPU has then done its work."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.device, self.last = device, time.perf_counter()

    def lap(self, name: str) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        self.seconds[name] += now - self.last
        self.last = now
