"""The Python blocks of the documents run, in order, and what they assert is true."""

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import REPOSITORY
from tests.laws import test_layers as laws

DOCUMENTS = ("docs/from_ode_to_recurrence.md", "docs/add_a_layer.md", "docs/streaming.md")


def run_blocks(path: Path) -> dict[str, Any]:
    """Run every Python block of a document in one namespace; an error shows the document's own line."""
    text, namespace = path.read_text(encoding="utf-8"), {"__name__": path.stem}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    assert blocks, f"{path} has no Python"
    for block in blocks:
        code = "\n" * text.count("\n", 0, block.start(1)) + block[1]
        exec(compile(code, path, "exec"), namespace)
    return namespace


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_code_of_a_document_runs(name: str) -> None:
    with torch.random.fork_rng():
        run_blocks(REPOSITORY / name)


def test_the_layer_of_the_example_obeys_the_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    example = run_blocks(REPOSITORY / "docs/add_a_layer.md")["Resonators"]
    monkeypatch.setitem(laws.LAYERS, "resonators", lambda: example(laws.D, 8))
    held = 0
    for law in vars(laws).values():
        values = {mark.args[0]: mark.args[1] for mark in getattr(law, "pytestmark", ())}
        if values.get("name") is laws.LAYERS:
            held += 1
            values["name"] = ["resonators"]
            for arguments in itertools.product(*values.values()):
                law(**dict(zip(values, arguments, strict=True)))
    assert held >= 7, "the laws are no longer found"


def test_a_false_statement_is_noticed_with_its_line(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        "# A page\n\n```python\none = 1\n```\n```text\nnot python\n```\n```python\nassert one == 2\n```\n"
    )
    with pytest.raises(AssertionError) as stopped:
        run_blocks(document)
    assert stopped.traceback[-1].lineno + 1 == 10 and str(stopped.traceback[-1].path) == str(document)
