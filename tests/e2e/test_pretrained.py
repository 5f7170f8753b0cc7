"""A model directory in place of a training."""

import json
from pathlib import Path

from tests.conftest import Experiment


def test_a_model_directory_is_decoded_as_the_trained_model(finished: Experiment, tmp_path: Path) -> None:
    other = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    text = finished.config.read_text().replace(str(finished.exp_dir), str(other.exp_dir))
    other.config.write_text(f"{text}\npretrained: {finished.model}\n")
    # the sections that train and build are not read
    ran = other.run("model.encoder.d_model=999", "model.encoder.n_heads=1", "train.epochs=1")
    assert ran.returncode == 0, ran.stderr
    assert not (other.exp_dir / "train").exists() and not (other.exp_dir / "package").exists()
    for stage, name in (("decode", "test-tiny.jsonl"), ("score", "results.json")):
        one, same = ((exp / stage / name).read_text() for exp in (finished.exp_dir, other.exp_dir))
        if stage == "score":
            wers = [{key: value["wer"] for key, value in json.loads(t).items()} for t in (one, same)]
            assert wers[0] == wers[1]
        else:
            texts = [[json.loads(line)["joint"] for line in t.splitlines()] for t in (one, same)]
            assert texts[0] == texts[1]


def test_no_such_directory_is_one_line(finished: Experiment, tmp_path: Path) -> None:
    other = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    other.config.write_text(f"{finished.config.read_text()}\npretrained: {tmp_path / 'nothing'}\n")
    ran = other.run()
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "no such directory" in ran.stderr
    plan = other.run("--dry-run")
    assert plan.returncode == 0 and "waits for" in plan.stdout
