"""Reading audio: what is read, and what each bad file says."""

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from s4speech.audio import blocks as audio_blocks
from s4speech.audio.io import audio_info, prepare_samples, read_audio, read_blocks
from s4speech.audio.pcm import RawPCM
from s4speech.errors import InputError

RATE = 16000


def tone(seconds=1.0, rate=RATE, hz=440.0):
    t = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def encoded(samples, rate=RATE, **kwargs):
    data = io.BytesIO()
    soundfile.write(data, samples, rate, **kwargs)
    return data.getvalue()


def wav(samples, rate=RATE):
    return encoded(samples, rate, format="WAV", subtype="FLOAT")


@pytest.mark.parametrize(
    ("format", "subtype", "error"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "FLOAT", 0),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.05),
        ("MP3", None, 0.05),
    ],
)
def test_formats(tmp_path, format, subtype, error):
    path = tmp_path / f"x.{format.lower()}"
    path.write_bytes(encoded(tone(), format=format, subtype=subtype))
    samples = read_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == (RATE,)
    assert np.abs(samples - tone()).max() <= error
    info = audio_info(str(path))
    assert (info.sample_rate_hz, info.channels, info.frames, info.duration_s) == (RATE, 1, RATE, 1.0)


def test_stereo_is_the_mean_of_its_channels():
    left, right = tone(hz=300), tone(hz=500)
    assert np.allclose(read_audio(io.BytesIO(wav(np.stack([left, right], 1)))), (left + right) / 2)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_other_rates_are_resampled(rate):
    samples = read_audio(io.BytesIO(wav(tone(2, rate), rate)))
    assert abs(len(samples) - 2 * RATE) <= 1
    middle = slice(RATE // 2, RATE)
    assert np.abs(samples[middle] - tone(2)[middle]).max() < 1e-3


def test_blocks_do_not_show(monkeypatch):
    noise = np.random.default_rng(0).uniform(-1, 1, 44100).astype(np.float32)
    monkeypatch.setattr(audio_blocks, "_BLOCK_SAMPLES", 1000)
    samples = read_audio(io.BytesIO(wav(noise, 44100)))
    assert np.allclose(samples, soxr.resample(noise, 44100, RATE), atol=1e-5)


def test_standard_input_and_pipes(tmp_path):
    code = "from s4speech.audio.io import read_audio; print(len(read_audio('-')))"
    for data, expected in (
        (wav(tone()), b"16000"),
        (wav(tone())[:2000], b"InputError: standard input: truncated"),
    ):
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
        assert expected in done.stdout + done.stderr
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(wav(tone()),))
    writer.start()
    assert len(read_audio(pipe)) == RATE
    writer.join()


def test_a_pipe_that_never_ends_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(audio_blocks, "_MAX_STREAM_BYTES", 4000)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    data = encoded(tone(), format="FLAC")  # a WAV is not stored
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    with pytest.raises(InputError, match="through a pipe"):
        read_audio(pipe)
    writer.join()


def test_a_name_that_is_not_utf8(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff.wav")
    with open(path, "wb") as file:
        file.write(wav(tone()))
    assert len(read_audio(os.fsdecode(path))) == RATE


def test_missing_file_directory_and_device(tmp_path):
    with pytest.raises(InputError, match=r"no\.wav: cannot read \(No such file"):
        read_audio(tmp_path / "no.wav")
    with pytest.raises(InputError, match="is a directory"):
        read_audio(tmp_path)
    with pytest.raises(InputError, match="not a regular file"):
        read_audio("/dev/zero")


@pytest.mark.parametrize("content", [b"", b"hello, this is text\n" * 100, b"RIFF\0\0\0\0WAVE", b"fLaC"])
@pytest.mark.parametrize("name", ["x.wav", "x.raw", "x.flac"])
def test_not_audio(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: not audio"):
        read_audio(tmp_path / name)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "AIFF", "AU", "CAF", "MP3"])
def test_truncated(tmp_path, format):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE)
    data = encoded(noise, format=format)
    path = tmp_path / f"x.{format.lower()}"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=rf"x\.{format.lower()}: (truncated|not audio)"):
        read_audio(path)


def test_damaged_in_the_middle():
    data = bytearray(encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE), format="FLAC"))
    data[len(data) // 2 :][:2000] = bytes(2000)
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    with pytest.raises(InputError, match="truncated or damaged"):
        read_audio(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("declared", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_declares_a_limit_and_is_read(declared):
    data = bytearray(encoded(tone(), format="WAV"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", declared)
    assert len(read_audio(io.BytesIO(bytes(data)))) == RATE


def test_a_flac_without_a_length_says_so():
    data = bytearray(encoded(tone(), format="FLAC"))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    with pytest.raises(InputError, match="header gives no length"):
        read_audio(io.BytesIO(bytes(data)))


@pytest.mark.parametrize(("bad", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_the_first_sample_that_is_no_number_is_named(monkeypatch, bad, shown):
    monkeypatch.setattr(audio_blocks, "_BLOCK_SAMPLES", 1000)
    samples = tone()
    samples[[8000, 9000]] = bad
    with pytest.raises(InputError, match=rf"sample 8000 \(0\.500 s\) is {shown}"):
        read_audio(io.BytesIO(wav(samples)))
    with pytest.raises(InputError, match=rf"sample 8000 \(0\.500 s\) is {shown}"):
        prepare_samples(samples, RATE)


def test_empty_and_short(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(np.zeros(0, np.float32)))
    for read in (read_audio, audio_info):
        with pytest.raises(InputError, match=r"x\.wav: has no samples"):
            read(path)
    path.write_bytes(wav(np.zeros(1, np.float32)))
    with pytest.raises(InputError, match=r"x\.wav: has 1 samples .* wanted at least 400"):
        read_audio(path)
    assert len(read_audio(path, min_samples=1)) == 1


def test_hours_in_a_small_file_stop_at_the_limit():
    data = encoded(np.zeros(600 * RATE, np.int16), format="FLAC")
    assert len(data) < 100_000
    with pytest.raises(InputError, match=r"lasts 600\.0 s or more; wanted at most 60\.0 s"):
        read_audio(io.BytesIO(data), max_duration_s=60)


def test_a_header_that_says_less_than_there_is_is_believed():
    data = bytearray(encoded(np.zeros(60 * RATE, np.int16), format="FLAC"))
    data[22:26] = struct.pack(">I", RATE)
    assert len(read_audio(io.BytesIO(bytes(data)), max_duration_s=30)) == RATE


def test_an_absurd_rate():
    with pytest.raises(InputError, match="sample rate 1 Hz"):
        read_audio(io.BytesIO(wav(tone(), 1)))


def test_prepare_samples():
    assert np.array_equal(prepare_samples(tone(), RATE), tone())
    assert prepare_samples(tone(1, 48000), 48000).shape == (RATE,)
    assert np.allclose(prepare_samples((tone() * 32767).astype(np.int16), RATE), tone(), atol=1e-4)
    assert np.allclose(prepare_samples(np.stack([tone(), 0 * tone()], 1), RATE), tone() / 2)
    assert prepare_samples(tone().astype(np.float64), RATE).dtype == np.float32


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        (np.zeros((2, 2, 2)), RATE, "shape"),
        (np.zeros(1000, np.uint8), RATE, "uint8"),
        (np.zeros(0), RATE, "has 0 samples"),
        (np.zeros((0, 2)), RATE, "has 0 samples"),
        (np.zeros(1), RATE, "has 1 samples"),
        (np.zeros(1000), 0, "sample rate 0 Hz"),
    ],
)
def test_prepare_samples_refuses(samples, rate, message):
    with pytest.raises(InputError, match=message):
        prepare_samples(samples, rate)


def collected(source, **options):
    """Every block, and the message of the error that ended them."""
    blocks, message = [], ""
    with read_blocks(source, **options) as audio:
        try:
            for block in audio:
                blocks.append(block)
        except InputError as error:
            message = str(error)
    return blocks, message


def test_blocks_of_a_file(tmp_path):
    stereo = np.stack([tone(2.5, 44100), 0 * tone(2.5, 44100)], 1)
    path = tmp_path / "x.wav"
    path.write_bytes(wav(stereo, 44100))
    with read_blocks(path, block_s=0.5) as audio:
        assert (audio.name, audio.sample_rate_hz, audio.duration_s) == (str(path), 44100, 2.5)
        blocks = list(audio)
    assert [len(block) for block in blocks] == [22050] * 5
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    assert np.allclose(np.concatenate(blocks), stereo.mean(1))


def test_what_is_before_a_fault_is_given():
    samples = tone()
    samples[8000] = np.inf
    blocks, message = collected(io.BytesIO(wav(samples)), block_s=0.3)
    assert sum(map(len, blocks)) == 8000
    assert "sample 8000 (0.500 s) is inf" in message
    data = bytearray(encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 5 * RATE), format="FLAC"))
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    blocks, message = collected(io.BytesIO(bytes(data)), block_s=0.1)
    assert RATE < sum(map(len, blocks)) < 3 * RATE
    assert "truncated or damaged" in message


def test_a_file_that_is_cut_short_or_too_long_is_refused_before_its_first_block(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(wav(tone())[:-100])
    with pytest.raises(InputError, match="truncated"), read_blocks(path):
        pass
    path.write_bytes(wav(tone()))
    with pytest.raises(InputError, match=r"wanted at most 0\.5 s"), read_blocks(path, max_duration_s=0.5):
        pass


@pytest.mark.parametrize("format", ["FLAC", "WAV"])
def test_memory_does_not_follow_the_length(tmp_path, format):
    path = tmp_path / "x"
    with soundfile.SoundFile(path, "w", RATE, 1, format=format, subtype="PCM_16") as file:
        for _ in range(20):
            file.write(np.zeros(60 * RATE, np.int16))
    tracemalloc.start()
    try:
        with read_blocks(path) as audio:
            assert sum(map(len, audio)) == 1200 * RATE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e6


@pytest.mark.parametrize(
    "head", [b"", wav(tone(5)).partition(b"data")[0] + b"data\xff\xff\xff\xff"], ids=["raw", "wav"]
)
def test_a_pipe_gives_what_has_come(head):
    """The writer waits for an answer to every piece: nothing may be held back until there is more."""
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe, open(writer, "wb", buffering=0) as end:
        source = pipe if head else RawPCM(pipe, RATE, "f32le")
        piece = tone(0.1).tobytes()
        end.write(head + piece)
        with read_blocks(source) as audio:
            for _ in range(3):
                assert np.array_equal(next(audio.blocks), tone(0.1))
                end.write(piece)


def test_a_file_as_standard_input(tmp_path):
    path = tmp_path / "x.flac"
    path.write_bytes(encoded(tone(), format="FLAC"))
    code = "from s4speech.audio.io import read_audio; print(len(read_audio('-')))"
    with path.open("rb") as file:
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True)
    assert done.stdout == b"16000\n", done.stderr


def test_every_message_is_one_line(tmp_path):
    (tmp_path / "x.wav").write_bytes(b"no audio")
    for path in (tmp_path / "none.wav", tmp_path, tmp_path / "x.wav"):
        with pytest.raises(InputError) as caught:
            read_audio(path)
        assert "\n" not in str(caught.value)
