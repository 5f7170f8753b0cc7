"""What of a test set is also in training: utterances, audio, texts, speakers."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from s4speech.data.findings import Finding

KINDS = ("leaked_id", "leaked_audio", "leaked_text", "leaked_speaker")


class Row(NamedTuple):
    """An utterance as it is compared. text: `plain_text` of it. digest: of its audio; empty: not read."""

    id: str
    where: str
    speaker: str | None
    text: str
    digest: str


def leakage(train: Sequence[Row], test: Sequence[Row], name: str) -> list[Finding]:
    """A finding for each utterance and speaker of `test`, called `name`, that training has too.

    Fatal: the same id. Only an exact copy of the samples is found as the same audio.
    """
    ids = {row.id for row in train}
    audio = {row.digest: row.id for row in reversed(train) if row.digest}
    texts = {row.text: row.id for row in reversed(train) if row.text}
    counts = Counter(row.text for row in train)
    findings = []
    for row in test:
        if row.id in ids:
            findings.append(
                Finding(row.id, row.where, f"{name}: this id is also in training", True, KINDS[0])
            )
        if row.digest in audio:
            problem = f"{name}: the same audio is in training as {audio[row.digest]}"
            findings.append(Finding(row.id, row.where, problem, False, KINDS[1]))
        if row.text in texts:
            times = f" ({counts[row.text]} times)" if counts[row.text] > 1 else ""
            problem = f"{name}: the same text is in training{times}, such as {texts[row.text]}"
            findings.append(Finding(row.id, row.where, problem, False, KINDS[2]))
    speakers = Counter(row.speaker for row in train if row.speaker)
    for speaker, number in Counter(row.speaker for row in test if row.speaker).items():
        if speaker in speakers:
            problem = f"{name}: this speaker of {number} utterances has {speakers[speaker]} in training"
            findings.append(Finding(str(speaker), name, problem, False, KINDS[3]))
    return findings
