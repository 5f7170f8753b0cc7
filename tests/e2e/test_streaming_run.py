"""The whole recognition recipe with a streaming model on a tiny corpus."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from s4speech import Recognizer
from s4speech.config.streaming import EndpointRule
from s4speech.metrics.error_rate import score
from s4speech.metrics.report import report_as_dict
from s4speech.metrics.trn import read_trn
from s4speech.streaming.events import Final
from tests.conftest import Experiment, run_command, snapshot, tiny_config

STAGES = ["decode", "calibrate", "longform", "score", "package"]
CHUNKS, METHODS, GROUPS = ("80ms", "160ms", "full"), ("ctc", "onepass", "rescored"), (1, 2, 4)


@pytest.fixture(scope="module")
def streamed(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """A finished run; read only."""
    folder = tmp_path_factory.mktemp("streamed")
    config = tiny_config(tiny_corpus, folder / "exp")
    config["model"]["encoder"] |= {
        "type": "streaming", "left_frames": 16, "d_state": 4, "chunks": [2, 4, 8],
        "decoder_left": 8, "decoder_right": 2,
    }  # fmt: skip
    config["train"] |= {"epochs": 8, "join": 2, "join_after": 6}
    config["streaming"] = {"chunk_ms": 160, "chunks_ms": [80, 160], "groups": list(GROUPS)}
    config["streaming"]["search"] = {"beam": 4}
    config["package"] |= {"half": True, "credit": "the tone makers"}
    experiment = Experiment(folder / "tiny.yaml", folder / "exp")
    experiment.config.write_text(yaml.safe_dump(config))
    done = experiment.run()
    (experiment.exp_dir / "terminal.txt").write_text(done.stdout)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return experiment


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in map(json.loads, path.read_text().splitlines())}


def results_of(experiment: Experiment) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((experiment.exp_dir / "score" / "results.json").read_text())
    return found


def test_every_chunk_and_method_is_scored_and_told(streamed: Experiment) -> None:
    results, folder = results_of(streamed), streamed.exp_dir / "score"
    rows = rows_of(streamed.exp_dir / "decode" / "test-tiny.jsonl")
    refs = read_trn(folder / "test-tiny.ref.trn")
    assert refs == {name: row["ref"] for name, row in rows.items()}
    keys = [f"{chunk}/{method}" for chunk in CHUNKS for method in METHODS]
    assert list(results["decode"]) == [f"test-tiny/{key}" for key in keys]
    output = (streamed.exp_dir / "terminal.txt").read_text()
    for key in keys:
        hyps = read_trn(folder / f"test-tiny.{key.replace('/', '.')}.trn")
        assert hyps == {name: row[key] for name, row in rows.items()}
        told = results["decode"][f"test-tiny/{key}"]
        assert told == json.loads(json.dumps(report_as_dict(score(refs, hyps, {n: n[0] for n in refs}))))
        # Two words of the texts are not said; a trained model hears all others.
        assert told["words"]["deletions"] >= 2 and told["wer"] < 0.3, key
        assert f"{100 * told['wer']:.2f}" in output
        assert (folder / f"test-tiny.{key.replace('/', '.')}.txt").read_text().count("EVAL:") == len(refs)
    page = (folder / "test-tiny.html").read_text()
    assert page.count('src="data:image/png;base64,') == 4  # curves, attention, confidence, streaming
    assert all(f'<th scope="row">{chunk} CTC</th>' in page for chunk in CHUNKS)
    for name in ("score/test-tiny.streaming.png", "calibrate/reliability.png"):
        assert (streamed.exp_dir / name).stat().st_size > 5000


def test_words_come_soon_after_their_end_and_later_with_longer_chunks(streamed: Experiment) -> None:
    found = results_of(streamed)["delay"]
    assert list(found) == [f"test-tiny/{chunk}/{method}" for chunk in CHUNKS[:2] for method in METHODS]
    for chunk, longest_s in (("80ms", 0.5), ("160ms", 0.6)):
        one = found[f"test-tiny/{chunk}/rescored"]
        assert one["words"] > 20 and -0.3 < one["p50_s"] <= one["p90_s"] < longest_s
    rows = rows_of(streamed.exp_dir / "decode" / "test-tiny.jsonl").values()
    totals = [sum(sum(row["delays_s"][f"{chunk}/rescored"]) for row in rows) for chunk in CHUNKS[:2]]
    assert totals[0] < totals[1]


def test_recordings_of_several_utterances_have_all_their_words(streamed: Experiment) -> None:
    found, folder = results_of(streamed)["longform"], streamed.exp_dir / "score"
    words = {one["words"]["correct"] + one["words"]["substitutions"] + one["words"]["deletions"]
             for one in found.values()}  # fmt: skip
    assert list(found) == [f"test-tiny/{count}" for count in GROUPS] and len(words) == 1
    assert found["test-tiny/1"]["relative"] == 1 and found["test-tiny/4"]["wer"] < 0.4
    for count, recordings in zip(GROUPS, (10, 6, 4), strict=True):
        refs = read_trn(folder / f"test-tiny.long{count}.ref.trn")
        assert len(refs) == recordings == len(read_trn(folder / f"test-tiny.long{count}.trn"))
    compared = run_command(
        "-m", "s4speech", "score", folder / "test-tiny.ref.trn", folder / "test-tiny.160ms.rescored.trn",
        "--compare", folder / "test-tiny.full.rescored.trn",
    )  # fmt: skip
    assert compared.returncode == 0, compared.stderr


def test_the_model_directory_streams_as_it_was_decoded(streamed: Experiment, tiny_corpus: Path) -> None:
    recognizer = Recognizer.load(streamed.model)
    record = json.loads((streamed.exp_dir / "calibrate" / "calibration.json").read_text())
    config = recognizer.config.streaming
    assert config is not None and config.chunk_ms == 160 and config.search.beam == 4
    assert config.calibration.model_dump() == {name: record[name] for name in ("scale", "offset")}
    card = (streamed.model / "README.md").read_text()
    assert "the tone makers" in card and "test-tiny/160ms/rescored" in card and "tiny.yaml" in card
    endless = [EndpointRule(name="cap", length_s=1000)]
    for name, row in rows_of(streamed.exp_dir / "decode" / "test-tiny.jsonl").items():
        samples, rate = soundfile.read(tiny_corpus / "test-tiny" / name[0] / "1" / f"{name}.flac")
        session = recognizer.stream(endpoints=endless)
        events = [*session.accept(samples.astype(np.float32), rate), *session.finish()]
        finals = [event.segment for event in events if isinstance(event, Final)]
        assert " ".join(one.text for one in finals) == row["160ms/rescored"], name
        assert [word.text for one in finals for word in one.words] == row["160ms/rescored"].split()
        assert len(row["words"]) == len(row["160ms/rescored"].split())


def test_it_is_packaged_again_with_another_search(streamed: Experiment, tmp_path: Path) -> None:
    again = tmp_path / "exp"
    done = streamed.run(
        f"pretrained={streamed.model}", f"exp_dir={again}", "streaming.search.beam=3", "streaming.full=false"
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    one, two = streamed.model, again / "package" / "tiny"
    for name in ("model.safetensors", "stats.safetensors", "tokenizer.model"):
        assert (one / name).read_bytes() == (two / name).read_bytes(), name
    config, record = (
        yaml.safe_load((two / "config.yaml").read_text()),
        json.loads((again / "calibrate" / "calibration.json").read_text()),
    )
    assert config["streaming"]["search"]["beam"] == 3
    assert config["streaming"]["calibration"] == {name: record[name] for name in ("scale", "offset")}
    card = (two / "README.md").read_text()
    assert "those of its training" in card and "joined;" not in card and "trained on the speech" not in card


def test_the_validation_part_can_be_decoded_to_tune_the_search(
    streamed: Experiment, recipes_here: Callable[..., tuple[int, str, str]]
) -> None:
    before = snapshot(streamed.exp_dir)
    code, plan, _ = recipes_here(streamed.config, "--dry-run", "streaming.parts=[valid]")
    ran = [line.split()[1] for line in plan.splitlines() if " run " in line]
    assert (code, ran) == (0, ["decode", "longform", "score", "package"])
    code, plan, _ = recipes_here(streamed.config, "--dry-run", "streaming.search.decoder_weight=0.1")
    ran = [line.split()[1] for line in plan.splitlines() if " run " in line]
    assert (code, ran) == (0, STAGES)
    code, told, _ = recipes_here(streamed.config)
    assert code == 0 and "nothing to do" in told
    assert snapshot(streamed.exp_dir) == before
    code, _, told = recipes_here(streamed.config, "--stage", "bake")
    assert code == 2 and "longform" in told
