"""A model directory in place of a training."""

import json
from pathlib import Path

import yaml

from tests.conftest import Experiment, snapshot


def test_a_model_directory_is_decoded_as_the_trained_model(finished: Experiment, tmp_path: Path) -> None:
    other = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    text = finished.config.read_text().replace(str(finished.exp_dir), str(other.exp_dir))
    other.config.write_text(f"{text}\npretrained: {finished.model}\n")
    # the sections that train and build are not read
    ran = other.run("model.encoder.d_model=999", "model.encoder.n_heads=1", "train.epochs=1")
    assert ran.returncode == 0, ran.stderr
    assert not (other.exp_dir / "train").exists()
    for stage, name in (("decode", "test-tiny.jsonl"), ("score", "results.json")):
        one, same = ((exp / stage / name).read_text() for exp in (finished.exp_dir, other.exp_dir))
        if stage == "score":
            wers = [{key: value["wer"] for key, value in json.loads(t).items()} for t in (one, same)]
            assert wers[0] == wers[1]
        else:
            texts = [[json.loads(line)["joint"] for line in t.splitlines()] for t in (one, same)]
            assert texts[0] == texts[1]


def test_it_is_packaged_again_with_another_search(finished: Experiment, tmp_path: Path) -> None:
    other = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    text = finished.config.read_text().replace(str(finished.exp_dir), str(other.exp_dir))
    other.config.write_text(f"{text}\npretrained: {finished.model}\n")
    ran = other.run("decode.beam=3", "decode.ctc_weight=0.7")
    assert ran.returncode == 0, ran.stderr
    again = other.exp_dir / "package" / "tiny"
    for name in ("model.safetensors", "stats.safetensors", "tokenizer.model"):
        assert (again / name).read_bytes() == (finished.model / name).read_bytes(), name
    one, two = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (finished.model, again))
    assert (two["decode"]["beam"], two["decode"]["ctc_weight"]) == (3, 0.7)
    assert one | {"decode": {}} == two | {"decode": {}}
    assert f"Weights: of `{finished.model}`" in (again / "README.md").read_text()


def test_a_directory_that_the_recipe_would_write_over_is_refused(finished: Experiment) -> None:
    before = snapshot(finished.exp_dir)
    ran = finished.run(f"pretrained={finished.model}")
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1 and "lies in exp_dir" in ran.stderr
    assert snapshot(finished.exp_dir) == before


def test_no_such_directory_is_one_line(finished: Experiment, tmp_path: Path) -> None:
    other = Experiment(tmp_path / "tiny.yaml", tmp_path / "exp")
    other.config.write_text(f"{finished.config.read_text()}\npretrained: {tmp_path / 'nothing'}\n")
    ran = other.run()
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1
    assert "no such directory" in ran.stderr
    plan = other.run("--dry-run")
    assert plan.returncode == 0 and "waits for" in plan.stdout
