"""Samples without a file: every format as soundfile reads it, and WAV headers that come through a pipe."""

import io
import struct

import numpy as np
import pytest
import soundfile

from s4speech.audio.blocks import read_blocks
from s4speech.audio.pcm import PCM_FORMATS, RawPCM, decode_pcm, read_wav_header
from s4speech.errors import InputError

RATE = 16000
SUBTYPES = {
    "s16le": "PCM_16",
    "s24le": "PCM_24",
    "s32le": "PCM_32",
    "f32le": "FLOAT",
    "f64le": "DOUBLE",
    "u8": "PCM_U8",
    "mulaw": "ULAW",
    "alaw": "ALAW",
}


class Pipe(io.RawIOBase):
    """Bytes that come in pieces, and cannot be sought in."""

    def __init__(self, data, piece=1 << 20):
        self._data, self._piece = io.BytesIO(data), piece

    def readable(self):
        return True

    def read(self, size=-1):
        return self._data.read(self._piece if size < 0 else min(size, self._piece))


def noise(samples, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, (samples, channels))


def encoded(samples, format="WAV", **kwargs):
    data = io.BytesIO()
    soundfile.write(data, samples, RATE, format=format, **kwargs)
    return data.getvalue()


def read_raw(data, format):
    options = {"format": "RAW", "subtype": SUBTYPES[format], "samplerate": RATE, "channels": 1}
    return soundfile.read(io.BytesIO(data), dtype="float32", **options)[0]


def gathered(source, **options):
    with read_blocks(source, **options) as audio:
        return np.concatenate(list(audio))


def gathered_until_error(source):
    blocks = []
    with read_blocks(source) as audio, pytest.raises(InputError) as caught:
        for block in audio:
            blocks.append(block)
    return np.concatenate(blocks), str(caught.value)


def test_all_formats_are_tested():
    assert set(SUBTYPES) == set(PCM_FORMATS)


@pytest.mark.parametrize("format", PCM_FORMATS)
def test_values_are_those_of_soundfile(format):
    raw = encoded(noise(1000), "RAW", subtype=SUBTYPES[format])
    found = decode_pcm(raw, format)
    assert found.dtype == np.float32
    assert np.array_equal(found, read_raw(raw, format))


@pytest.mark.parametrize("format", ["mulaw", "alaw"])
def test_every_code_of_g711(format):
    codes = bytes(range(256))
    assert np.array_equal(decode_pcm(codes, format), read_raw(codes, format))


@pytest.mark.parametrize("piece", [1, 3, 7, 4096])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_raw_samples_however_they_come(piece, channels):
    samples = noise(300, channels)
    raw = encoded(samples, "RAW", subtype="PCM_24")
    found = gathered(RawPCM(Pipe(raw, piece), RATE, "s24le", channels))
    assert np.allclose(found, samples.mean(1), atol=1e-6)
    assert len(found) == 300


@pytest.mark.parametrize("extra", [1, 2, 3, 5])
def test_an_unfinished_sample_is_counted_and_left_out(extra):
    raw = encoded(noise(100, 2), "RAW", subtype="PCM_24")
    source = RawPCM(Pipe(raw + bytes(extra), 7), RATE, "s24le", 2)
    assert len(gathered(source)) == 100
    assert source.left_over == extra


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "s12"}, "PCM format 's12'; wanted s16le"),
        ({"channels": 0}, "0 channels"),
        ({"sample_rate_hz": 10}, "sample rate 10 Hz"),
    ],
)
def test_raw_options(options, message):
    with pytest.raises(InputError, match=message):
        gathered(RawPCM(Pipe(bytes(100)), **options))


def test_no_sample_at_all():
    for data in (b"", b"\0"):
        with pytest.raises(InputError, match="has no samples"):
            gathered(RawPCM(Pipe(data)))


@pytest.mark.parametrize("format", SUBTYPES)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_wav_through_a_pipe_is_read_as_it_comes(format, container, piece):
    samples = noise(200, 2)
    data = encoded(samples, container, subtype=SUBTYPES[format])
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    pcm, _ = read_wav_header(Pipe(data, piece), "x")
    assert (pcm.sample_rate_hz, pcm.channels, pcm.format) == (RATE, 2, format)
    assert np.array_equal(gathered(Pipe(data, piece)), expected.mean(1, dtype=np.float32))


def with_chunk(data, kind, body):
    """Put a chunk before the samples."""
    at = data.index(b"data")
    return data[:at] + kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2) + data[at:]


def test_chunks_before_and_after_the_samples_are_passed_over():
    samples = noise(200)
    data = with_chunk(encoded(samples, subtype="FLOAT"), b"LIST", b"odd size!") + b"LIST" + bytes(40)
    assert np.allclose(gathered(Pipe(data, 5)), samples[:, 0])


@pytest.mark.parametrize("declared", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_wav_whose_header_gives_no_length_goes_on_to_the_end(declared):
    data = bytearray(encoded(noise(200), subtype="PCM_16"))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", declared)
    assert len(gathered(Pipe(bytes(data)))) == 200
    found, message = gathered_until_error(Pipe(bytes(data[:-1])))
    assert len(found) == 199
    assert "it ends in the middle of a sample" in message


@pytest.mark.parametrize("lost", [1, 2, 101])
def test_a_wav_that_is_cut_short_says_so_after_what_is_there(lost):
    found, message = gathered_until_error(Pipe(encoded(noise(200), subtype="PCM_16")[:-lost], 11))
    assert len(found) == 200 - (lost + 1) // 2
    assert f"truncated or damaged ({400 - lost} bytes of the 400 its header says)" in message


@pytest.mark.parametrize("format", ["FLAC", "OGG", "RF64", "AIFF"])
def test_other_formats_are_stored_first(format):
    data = encoded(noise(2000), format)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(gathered(Pipe(data, 100)), expected)


def test_a_compressed_wav_is_left_to_libsndfile():
    data = encoded(noise(2000), subtype="IMA_ADPCM")
    assert read_wav_header(Pipe(data), "x")[0] is None
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(gathered(Pipe(data)), expected)


@pytest.mark.parametrize("size", range(0, 44, 3))
def test_a_pipe_that_ends_in_its_header_is_not_audio(size):
    with pytest.raises(InputError, match=r"(not audio|no samples)"):
        gathered(Pipe(encoded(noise(200))[:size], 4))


def test_a_header_that_never_ends_is_not_kept_in_memory():
    head = encoded(noise(10))[:12]
    endless = head + b"junk" + struct.pack("<I", 0x40000000) + bytes(3 << 20)
    pcm, seen = read_wav_header(Pipe(endless), "x")
    assert pcm is None
    assert len(seen) <= 1 << 20


def test_a_bad_sample_comes_after_the_good_ones():
    samples = np.full(3000, 0.5, np.float32)
    samples[2222] = np.nan
    found, message = gathered_until_error(RawPCM(Pipe(samples.tobytes(), 900), RATE, "f32le"))
    assert np.array_equal(found, samples[:2222])
    assert "sample 2222 (0.139 s) is nan" in message


def test_a_pipe_has_a_limit_if_asked():
    with pytest.raises(InputError, match=r"wanted at most 0\.1 s"):
        gathered(RawPCM(Pipe(bytes(RATE))), max_duration_s=0.1)
    assert len(gathered(RawPCM(Pipe(bytes(RATE))), max_duration_s=0.5)) == RATE // 2
