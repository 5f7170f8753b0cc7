"""How fast a voice directory speaks, and how soon: through `s4speech.Synthesizer`, as it is used."""

import os
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

WORDS = (10, 100, 1000)  # of the texts whose first audio is waited for
RUNS = 3


def measure_speed(
    voice: Path, sentences: Sequence[str], more: Sequence[str], counts: Sequence[int]
) -> dict[str, Any]:
    """Real-time factor over `sentences`, each spoken alone, and seconds to the first audio of texts of 10,
    100 and 1000 words made of `more` (medians of 3 runs); each with so many threads (counts). cpu_s_per_s:
    processor seconds a second of audio, which other load disturbs less."""
    import s4speech

    synthesizer = s4speech.Synthesizer.load(str(voice))
    texts = longer(more, WORDS)
    runs = []
    for threads in counts:
        with torch_threads(threads):
            synthesizer.synthesize(sentences[0])
            begin, begin_cpu = time.perf_counter(), time.process_time()
            samples = sum(len(synthesizer.synthesize(text).samples) for text in sentences)
            seconds, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
            first = []
            for text in texts:
                waits = []
                for _ in range(RUNS):
                    begin = time.perf_counter()
                    next(iter(synthesizer.stream(text)))
                    waits.append(time.perf_counter() - begin)
                first.append({"words": len(text.split()), "s": statistics.median(waits)})
        audio_s = samples / synthesizer.sample_rate_hz
        rates = {"rtf": seconds / audio_s, "cpu_s_per_s": cpu_s / audio_s, "audio_s": audio_s}
        runs.append({"threads": threads, **rates, "first_audio": first})
    return {"runs": runs, "cpu": f"{platform.machine()}, {os.cpu_count()} cores", "load": os.getloadavg()[0]}


def longer(sentences: Sequence[str], words: Sequence[int]) -> list[str]:
    """Texts of at least so many words each: whole sentences from the first on, again and again."""
    texts = []
    for wanted in words:
        chosen: list[str] = []
        count, number = 0, 0
        while count < wanted:
            one = sentences[number % len(sentences)]
            chosen.append(one if one.rstrip().endswith((".", "!", "?")) else f"{one}.")
            count += len(chosen[-1].split())
            number += 1
        texts.append(" ".join(chosen))
    return texts


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """So many threads within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
