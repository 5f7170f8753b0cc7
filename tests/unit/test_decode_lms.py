"""Recipes decode with language models: each against its search alone, tuned, compared; over processes."""

import itertools
import json
import os
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file

from recipes.asr import stages_of
from recipes.asr.config import ASRRecipe, FusionConfig, TuneConfig
from recipes.asr.context import ASRContext
from recipes.asr.data import prepare
from recipes.asr.evaluation import Clock, decode, hear_cuts, packaged_decoding, score, write_package
from recipes.asr.gains import gains
from recipes.asr.lms import at_point, choose
from recipes.asr.shards import Result, Shards, Work
from recipes.asr.streaming import Listener, calibrate, longform
from recipes.asr.streaming import decode as decode_streams
from recipes.asr.streaming_lms import compare
from recipes.asr.streaming_lms import tune as tune_streams
from recipes.asr.streaming_score import score as score_streams
from recipes.asr.training import averaged_model
from recipes.asr.tune import tune
from s4speech.config.lm import S4LMConfig
from s4speech.config.streaming import SearchOptions
from s4speech.data.processes import Launched, TookPart
from s4speech.metrics.error_rate import score as error_report
from s4speech.models.asr.recognize import search
from s4speech.models.lm import LanguageModel, LMPackageConfig, load_lm, load_scorer, save_lm
from s4speech.models.package import ASRPackageConfig, load_asr, save_asr
from s4speech.text.tokenizer import BLANK, Tokenizer
from tests.conftest import message
from tests.e2e.corpus import make_corpus

SIZE = {"d_model": 16, "n_heads": 2, "d_ff": 24, "dropout": 0.0}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, a tokenizer, a neural and an n-gram language model; read only."""
    folder = tmp_path_factory.mktemp("shelf")
    make_corpus(folder / "corpus", ("dev-tiny", "test-tiny"))
    (folder / "tokenizer").mkdir()
    tokenizer = Tokenizer.train(["AB CAD BED DAB ACE"], folder / "tokenizer" / "tokenizer.model", 9, "char")
    config = S4LMConfig(d_model=16, n_layers=1, d_ff=16, d_state=8, vocab_size=9)
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    torch.nn.init.normal_(model.output.weight, std=0.8)
    (folder / "s4").mkdir()
    save_lm(
        folder / "s4", LMPackageConfig(model=config), model, folder / "tokenizer" / "tokenizer.model", "card"
    )
    grams = "".join(f"-{0.2 * i:.1f}\t{piece}\n" for i, piece in enumerate(tokenizer.pieces[3:], start=1))
    text = f"\\data\\\nngram 1=8\n\n\\1-grams:\n-2\t</s>\n-99\t<s>\n{grams}\n\\end\\\n"
    (folder / "lm.arpa").write_text(text, "utf-8")
    return folder


def make_context(shelf: Path, folder: Path, streams: bool = False, **sections: Any) -> ASRContext:
    """An experiment whose model is random: it babbles, always the same for the same audio."""
    encoder: dict[str, Any] = {"subsampling": "conv1d", "n_layers": 1, "kernel_size": 5, **SIZE}
    if streams:
        encoder |= {"type": "streaming", "left_frames": 8, "d_state": 4, "decoder_left": 4}
    values = {
        "exp_dir": str(folder),
        "corpus": {
            "name": "librispeech", "root": str(shelf / "corpus"),
            "train": ["dev-tiny"], "valid": ["dev-tiny"], "test": ["test-tiny"],
        },
        "tokenizer": {"type": "char", "vocab_size": 9},
        "model": {
            "features": {"n_mels": 20}, "encoder": encoder,
            "decoder": {"type": "s4", "n_layers": 1, "d_state": 8, **SIZE},
        },
        "package": {"name": "tiny", "data": "tones", "licence": "Apache-2.0"},
    }  # fmt: skip
    config = ASRRecipe.model_validate(values | sections)
    context = ASRContext(config, Console(quiet=True), "recipes asr tiny.yaml")
    for name in ("prepare", "average"):
        (folder / name).mkdir(parents=True)
    (folder / "tokenizer").symlink_to(shelf / "tokenizer")
    prepare(context, folder / "prepare")
    torch.manual_seed(1)
    model = context.build_model()
    for weight in model.encoder.parameters():
        if weight.dim() > 1:
            torch.nn.init.xavier_normal_(weight, gain=1.5)
    torch.nn.init.normal_(model.ctc.weight)
    model.ctc.bias.data[BLANK] = 3.0
    model.set_statistics(torch.full((20,), -5.0), torch.full((20,), 2.0))
    save_file(model.state_dict(), folder / "average" / "model.safetensors")
    return context


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_stage(context: ASRContext, name: str, stage: Any) -> Path:
    folder = context.exp_dir / name
    folder.mkdir(exist_ok=True)
    stage(context, folder)
    return folder


def with_packaged(context: ASRContext, name: str) -> ASRContext:
    """The same experiment, whose model directory has that language model."""
    decode_config = context.config.decode.model_copy(update={"packaged_lm": name})
    return ASRContext(context.config.model_copy(update={"decode": decode_config}), context.console, "recipes")


def lms(shelf: Path) -> dict[str, Any]:
    return {
        "s4": {"path": str(shelf / "s4"), "weight": 0.6, "length_bonus": 0.5},
        "ngram": {"path": str(shelf / "lm.arpa"), "weight": 0.4},
    }


def test_joint_is_decoded_tuned_and_scored_with_each_language_model(shelf: Path, tmp_path: Path) -> None:
    section = {
        "beam": 3, "methods": ["ctc_greedy", "joint"], "lms": lms(shelf), "max_duration_s": 6.0,
        "tune": {
            "weights": [0.3, 0.9], "length_bonuses": [0.0, 1.0], "ctc_weights": [0.5, 0.95], "utterances": 4,
        },
    }  # fmt: skip
    context = make_context(shelf, tmp_path / "exp", decode=section)
    tuned = json.loads((run_stage(context, "tune", tune) / "tune.json").read_text())
    assert tuned["utterances"] == 4 and list(tuned["lms"]) == ["s4", "ngram"]
    for one in tuned["lms"].values():
        table = one["table"]
        points = [(p["weight"], p["length_bonus"], p["ctc_weight"]) for p in table]
        assert points == list(itertools.product([0.3, 0.9], [0.0, 1.0], [0.5, 0.95]))
        assert one["errors"] == min(p["errors"] for p in table)

    folder = run_stage(context, "decode", decode)
    rows = rows_of(folder / "test-tiny.jsonl")
    keys = ["ctc_greedy", "joint", "joint+s4", "joint+ngram"]
    assert all(list(row["nbest"]) == keys for row in rows) and len(rows) == 10
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []
    # As one search of one utterance, with what the tune stage chose.
    model, cuts = averaged_model(context), {cut.id: cut for cut in context.cuts("test/test-tiny")}
    for row in rows[::3]:
        heard = hear_cuts(context, model, [cuts[row["id"]]], Clock(torch.device("cpu")))
        for name in ("s4", "ngram"):
            best, scorer = tuned["lms"][name], load_scorer(lms(shelf)[name]["path"], context.tokenizer)
            [[found]] = search(
                "joint", model.decoder.freeze(), heard, beam=3, ctc_weight=best["ctc_weight"],
                lm=(scorer, best["weight"]), length_bonus=best["length_bonus"],
            )  # fmt: skip
            assert row[f"joint+{name}"] == context.tokenizer.decode(found.tokens)
            first = row["nbest"][f"joint+{name}"][0]
            assert first["score"] == pytest.approx(found.score, abs=1e-3) and "lm" in first["scores"]
    assert {row["joint"] for row in rows} != {row["joint+s4"] for row in rows}
    packaged = packaged_decoding(with_packaged(context, "s4"))
    assert (packaged.ctc_weight, packaged.lm_ctc_weight) == (0.3, tuned["lms"]["s4"]["ctc_weight"])

    folder = run_stage(context, "score", score)
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == [f"test-tiny/{key}" for key in keys]
    assert list(results["test-tiny/joint+s4"]["against"]) == ["joint"]
    assert list(results["test-tiny/joint+ngram"]["against"]) == ["joint", "joint+s4"]
    wer = {key: results[f"test-tiny/{key}"]["wer"] for key in keys}
    one = results["test-tiny/joint+ngram"]["against"]["joint"]
    assert one["relative_gain"] == pytest.approx(1 - wer["joint+ngram"] / wer["joint"])
    assert one["difference"] == pytest.approx(wer["joint+ngram"] - wer["joint"]) and 0 <= one["p"] <= 1
    assert (folder / "test-tiny.joint+s4.trn").exists()


def test_a_language_model_may_have_a_ctc_weight_of_its_own(shelf: Path, tmp_path: Path) -> None:
    own = {"path": str(shelf / "lm.arpa"), "weight": 0.4}
    section = {"beam": 3, "methods": ["joint"], "ctc_weight": 0.2, "lms": {
        "as_without": own, "same": own | {"ctc_weight": 0.2}, "other": own | {"ctc_weight": 0.9},
    }}  # fmt: skip
    context = make_context(shelf, tmp_path / "exp", decode=section)
    rows = rows_of(run_stage(context, "decode", decode) / "test-tiny.jsonl")
    assert all(row["joint+as_without"] == row["joint+same"] for row in rows)
    assert any(row["joint+other"] != row["joint+same"] for row in rows)
    for name, wanted in (("as_without", None), ("other", 0.9)):
        assert packaged_decoding(with_packaged(context, name)).lm_ctc_weight == wanted


@pytest.mark.parametrize("kept", [False, True])
def test_a_language_model_that_is_left_out_is_told(
    shelf: Path, tmp_path: Path, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    decode_section: dict[str, Any] = (
        {"lms": {"own": {"path": str(source)}}, "packaged_lm": "own"} if kept else {}
    )
    context = make_context(shelf, tmp_path / "exp", pretrained=str(source), decode=decode_section)
    lm, _ = load_lm(shelf / "s4")
    config = ASRPackageConfig(model=context.model_config(), lm=lm.config)
    source.mkdir()
    save_asr(source, config, averaged_model(context), context.tokenizer_path, "card", lm=lm)
    told: list[str] = []
    monkeypatch.setattr(context, "say", told.append)
    write_package(context, tmp_path, None, "card")
    again = load_asr(tmp_path / "tiny")
    assert (again.lm is not None) == kept
    assert any("without the language model of" in one for one in told) != kept


def streaming_section(shelf: Path) -> dict[str, Any]:
    use = {"beam": 3, "decoder_weight": 0.4, "lm_weight": 0.5, "length_bonus": 0.5}
    return {
        "chunk_ms": 160, "chunks_ms": [80, 160], "groups": [1], "search": {"beam": 3},
        "compare_lms": {name: {"path": one["path"], "search": use} for name, one in lms(shelf).items()},
        "tune": {"weights": [0.4, 0.8], "utterances": 3},
    }  # fmt: skip


def test_language_models_are_compared_in_the_streaming_search(shelf: Path, tmp_path: Path) -> None:
    context = make_context(shelf, tmp_path / "exp", streams=True, streaming=streaming_section(shelf))
    names = [stage.name for stage in stages_of(context.config)]
    assert names[6:] == ["decode", "calibrate", "longform", "tune", "compare", "score", "package"]
    tuned = json.loads((run_stage(context, "tune", tune_streams) / "tune.json").read_text())
    rows = rows_of(run_stage(context, "compare", compare) / "test-tiny.jsonl")
    keys = [f"{chunk}/rescored+{name}" for chunk in ("160ms", "full") for name in ("s4", "ngram")]
    assert all(list(row) == ["id", *keys] for row in rows)
    listener, cuts = Listener(context), {cut.id: cut for cut in context.part("test-tiny")}
    for row in rows[::4]:
        with torch.inference_mode():
            mel, frames, seconds = listener.features([cuts[row["id"]]])
            for name, fusion in context.config.streaming.compare_lms.items():
                options = fusion.search.model_copy(update={"lm_weight": tuned["lms"][name]["weight"]})
                options = options.model_copy(update={"length_bonus": tuned["lms"][name]["length_bonus"]})
                lm, heard = load_scorer(fusion.path, context.tokenizer), listener.hear(mel, frames, None)
                [found] = listener.search(options, heard, None, seconds, lm)
                assert row[f"full/rescored+{name}"] == found.rescored[1]

    for name, stage in (("decode", decode_streams), ("calibrate", calibrate), ("longform", longform)):
        run_stage(context, name, stage)
    results = json.loads((run_stage(context, "score", score_streams) / "results.json").read_text())
    assert list(results["compare"]) == [f"test-tiny/{key}" for key in keys]
    assert list(results["compare"]["test-tiny/full/rescored+ngram"]["against"]) == [
        "full/rescored",
        "full/rescored+s4",
    ]


def test_a_tuned_ctc_weight_is_the_decoders_weight_of_the_streaming_search() -> None:
    tune_config = TuneConfig(weights=[0.4], length_bonuses=[1.5], ctc_weights=[0.8, 0.8, 0.5])
    fusion = FusionConfig(path="lm", search=SearchOptions(beam=3, decoder_weight=0.7, rescore_weight=0.1))
    found = [at_point(fusion, point) for point in tune_config.points]
    assert [one.decoder_weight for one in found] == pytest.approx([0.25, 1.0])
    assert [one.rescore_weight for one in found] == pytest.approx([0.25, 1.0])
    assert all((one.beam, one.lm_weight, one.length_bonus) == (3, 0.4, 1.5) for one in found)
    [kept] = [at_point(fusion, point) for point in TuneConfig(weights=[0.4]).points]
    assert (kept.decoder_weight, kept.rescore_weight, kept.lm_weight) == (0.7, 0.1, 0.4)


def test_the_fewest_errors_are_chosen_and_of_equals_the_mildest(shelf: Path, tmp_path: Path) -> None:
    context = make_context(shelf, tmp_path / "exp")
    config = TuneConfig(weights=[0.9, 0.5, 0.1], length_bonuses=[2.0, -1.0])
    rows = [
        {"id": "1", "ref": "A B", "texts": {"none": ["A"], "lm": ["", "A B", "A B", "A B", "C B", "C"]}},
        {"id": "2", "ref": "A", "texts": {"none": ["C"], "lm": ["A", "B", "A", "A", "A", "A"]}},
    ]
    choose(context, tmp_path, config, rows)
    found = json.loads((tmp_path / "tune.json").read_text())
    assert [point["errors"] for point in found["lms"]["lm"]["table"]] == [2, 1, 0, 0, 1, 2]
    assert (found["lms"]["lm"]["weight"], found["lms"]["lm"]["length_bonus"]) == (0.5, -1.0)
    assert found["none"] == {"wer": pytest.approx(2 / 3), "errors": 2} and found["words"] == 3


def test_gains_by_hand() -> None:
    refs = {str(i): "a b c d" for i in range(40)}
    before = error_report(refs, {name: "a x c" for name in refs})
    after = error_report(refs, {name: "a b c" for name in refs})
    found = gains({"none": before, "s4": after, "same": after})
    assert list(found) == ["s4", "same"] and list(found["same"]) == ["none", "s4"]
    assert found["s4"]["none"]["relative_gain"] == 0.5
    assert found["s4"]["none"]["difference"] == pytest.approx(-0.25)
    assert found["same"]["s4"]["relative_gain"] == 0 and found["same"]["s4"]["p"] == 1


def toy_work(context: ASRContext) -> Work:
    return partial(_toy, context.exp_dir)


def _toy(folder: Path, batch: Sequence[Any]) -> Result:
    """Says whom it heard. The process that hears `killer` dies, unless it did so before."""
    names = [one.id for one in batch]
    if "8-1-0003" in names and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    with (folder / "heard.txt").open("a") as file:
        file.write(f"{' '.join(names)}\n")
    return {"names": names, "threads": torch.get_num_threads()}


def refusing_work(context: ASRContext) -> Work:
    load_scorer(context.exp_dir / "nothing.arpa", context.tokenizer)
    raise AssertionError("that was an error")


def test_processes_share_the_work_and_a_killed_one_is_told_and_continued(shelf: Path, tmp_path: Path) -> None:
    context = make_context(shelf, tmp_path / "exp", decode={"processes": 2})
    cuts = sorted(context.cuts("test/test-tiny"), key=lambda cut: cut.id)
    shards = Shards(tmp_path, {"test": [cuts[i : i + 2] for i in range(0, 10, 2)], "other": [cuts[:1]]})
    told = message(lambda: shards.run(context, toy_work, "toy"))
    assert told.startswith("decode.processes: a process was ended by signal 9 (SIGKILL)")
    assert told.endswith("the same command continues")
    shards.run(context, toy_work, "toy")
    assert [one["names"] for one in shards.results("test")] == [
        [cut.id for cut in cuts[i : i + 2]] for i in range(0, 10, 2)
    ]
    # Each batch once; but what a process was at when the other was killed may be heard again.
    heard = (context.exp_dir / "heard.txt").read_text().splitlines()
    assert 6 <= len(heard) <= 7 and len(set(heard)) == 6
    assert {one["threads"] for one in shards.results("test")} == {1}
    # Other batches are other files; what was wrong with the input is told as it is by one process.
    other = Shards(tmp_path, {"test": [[cut] for cut in cuts[:2]]})
    errors = [message(lambda: other.run(context, refusing_work, "toy"))]
    alone = context.config.model_copy(
        update={"decode": context.config.decode.model_copy(update={"processes": 1})}
    )
    errors.append(message(lambda: other.run(ASRContext(alone, context.console, ""), refusing_work, "toy")))
    assert errors[0] == errors[1] and "nothing.arpa" in errors[0]


def test_processes_of_torchrun_each_make_their_own(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make_context(shelf, tmp_path / "exp")
    (context.exp_dir / "killed").touch()
    cuts = sorted(context.cuts("test/test-tiny"), key=lambda cut: cut.id)
    for rank in (2, 1, 0):
        monkeypatch.setattr("recipes.asr.shards.launched", lambda rank=rank: Launched(rank, 3, outside=True))
        shards = Shards(tmp_path, {"test": [[cut] for cut in cuts]})
        if rank:
            with pytest.raises(TookPart):
                shards.run(context, toy_work, "toy")
        else:
            shards.run(context, toy_work, "toy")
    assert [one["names"] for one in shards.results("test")] == [[cut.id] for cut in cuts]
    heard = (context.exp_dir / "heard.txt").read_text().split()
    assert heard == [cut.id for rank in (2, 1, 0) for cut in cuts[rank::3]]
    shared = [stage.name for stage in stages_of(context.config) if stage.shared]
    assert shared == ["decode"]


def test_what_is_decoded_does_not_depend_on_the_number_of_processes(shelf: Path, tmp_path: Path) -> None:
    found = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for processes in (1, 3):  # two are in the test above
            section = {"beam": 3, "lms": lms(shelf), "max_duration_s": 4.0, "processes": processes}
            context = make_context(shelf, tmp_path / f"exp{processes}", decode=section)
            found.append((run_stage(context, "decode", decode) / "test-tiny.jsonl").read_bytes())
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1] and found[0].count(b"\n") == 10


@pytest.mark.parametrize(
    "sections, told",
    [
        (
            {"decode": {"methods": ["ctc_greedy"], "lms": {"a": {"path": "x"}}}},
            "wanted joint among the methods",
        ),
        ({"decode": {"tune": {"weights": [0.5]}}}, "wanted language models in lms"),
        ({"decode": {"packaged_lm": "a"}}, "packaged_lm: got 'a', wanted one of lms: none"),
        ({"streaming": {"tune": {"weights": [0.5]}}}, "wanted language models in compare_lms"),
        ({"streaming": {"compare_lms": {"a": {"path": "x", "search": {}}}}}, "lm_weight: got 0"),
    ],
    ids=["methods", "tune", "packaged", "streaming-tune", "no-weight"],
)
def test_options_that_do_nothing_are_refused(sections: dict[str, Any], told: str) -> None:
    values = {
        "exp_dir": "x",
        "corpus": {"name": "librispeech", "root": "x", "train": ["a"], "test": ["b"]},
        "package": {"name": "tiny", "data": "tones", "licence": "Apache-2.0"},
    }
    with pytest.raises(ValueError, match=told):
        ASRRecipe.model_validate(values | sections)


def test_a_recipe_without_language_models_has_the_fingerprints_it_had(shelf: Path, tmp_path: Path) -> None:
    """No key that was not there before is in it, so that no experiment is decoded again."""
    context = make_context(shelf, tmp_path / "exp", decode={"beam": 7, "processes": 4})
    [stage] = [one for one in stages_of(context.config) if one.name == "decode"]
    assert callable(stage.config) and stage.config(context) == {
        "decode": {
            "beam": 7, "ctc_weight": 0.3, "methods": ["ctc_greedy", "joint"], "max_duration_s": 60.0,
            "device": "auto",
        }
    }  # fmt: skip
    assert stage.needs == ("prepare", "tokenizer", "average")
