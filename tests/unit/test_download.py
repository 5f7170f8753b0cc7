"""Fetching archives, from a server on this machine; nothing here asks another one."""

import bz2
import gzip
import hashlib
import io
import re
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console

from recipes import download
from recipes.context import RecipeContext
from recipes.download import DownloadingConfig, provide
from s4speech.config.base import load_config
from s4speech.data.archives import (
    AN4,
    LIBRISPEECH,
    LJSPEECH,
    TEXTS,
    from_mirror,
    librispeech_archive,
    wanted_of_corpus,
    wanted_of_text,
)
from s4speech.data.download import Archive, Wanted, fetch, obtain, unpack
from s4speech.data.processes import Launched
from tests.conftest import message
from tests.file_server import Server, serving

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"a.bin": CONTENT}) as told:
        yield told


def archive_of(content: bytes, *urls: str, size: int | None = None, inside: str | None = None) -> Archive:
    return Archive(urls, f"md5:{hashlib.md5(content).hexdigest()}", size, inside)


@dataclass
class Fetching:
    """`fetch` with what it told."""

    folder: Path
    pauses: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    reported: list[tuple[int, int | None]] = field(default_factory=list)

    def report(self, have: int, total: int | None) -> None:
        self.reported.append((have, total))

    def __call__(self, archive: Archive) -> Path:
        return fetch(
            archive,
            self.folder,
            report=self.report,
            say=self.said.append,
            pause=self.pauses.append,
            timeout_s=5,
        )

    def obtain(self, wanted: Wanted) -> None:
        obtain(wanted, report=self.report, say=self.said.append, pause=self.pauses.append)


@pytest.fixture
def fetching(tmp_path: Path) -> Fetching:
    return Fetching(tmp_path)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once(server, fetching):
    archive = archive_of(CONTENT, server.url("a.bin"), size=len(CONTENT))
    path = fetching(archive)
    assert path.read_bytes() == CONTENT and names(fetching.folder) == ["a.bin"]
    assert fetching.reported[-1] == (len(CONTENT), len(CONTENT))
    assert fetching(archive) == path
    assert server.asked == [("a.bin", 0)] and fetching.pauses == []


@pytest.mark.parametrize("size", [None, len(CONTENT)], ids=["size unknown", "size known"])
def test_a_transfer_that_ends_early_goes_on_where_it_ended(server, fetching, size):
    server.ends_after = [3000, 7000]
    path = fetching(archive_of(CONTENT, server.url("a.bin"), size=size))
    assert path.read_bytes() == CONTENT and names(fetching.folder) == ["a.bin"]
    assert server.asked == [("a.bin", 0), ("a.bin", 3000), ("a.bin", 7000)]
    assert fetching.pauses == [1.0, 1.0]  # each brought something


def test_a_later_call_goes_on_where_a_killed_one_ended(server, fetching):
    (fetching.folder / "a.bin.part").write_bytes(CONTENT[:5000])
    assert fetching(archive_of(CONTENT, server.url("a.bin"))).read_bytes() == CONTENT
    assert server.asked == [("a.bin", 5000)]
    assert names(fetching.folder) == ["a.bin"]


def test_a_part_that_is_whole_is_only_checked(server, fetching):
    (fetching.folder / "a.bin.part").write_bytes(CONTENT)
    assert fetching(archive_of(CONTENT, server.url("a.bin"), size=len(CONTENT))).read_bytes() == CONTENT
    assert server.asked == []
    (fetching.folder / "a.bin").rename(fetching.folder / "a.bin.part")
    assert fetching(archive_of(CONTENT, server.url("a.bin"))).read_bytes() == CONTENT  # 416
    assert server.asked == [("a.bin", len(CONTENT))]


@pytest.mark.parametrize("part", [CONTENT[:99] + b"?", CONTENT + b"more"], ids=["other bytes", "too long"])
@pytest.mark.parametrize("size", [None, len(CONTENT)], ids=["size unknown", "size known"])
def test_a_part_of_another_file_is_thrown_away(server, fetching, part, size):
    (fetching.folder / "a.bin.part").write_bytes(part)
    assert fetching(archive_of(CONTENT, server.url("a.bin"), size=size)).read_bytes() == CONTENT
    assert server.asked[-1] == ("a.bin", 0)


def test_a_server_that_knows_no_ranges_starts_again(server, fetching):
    server.ranges, server.ends_after = False, [3000]
    assert fetching(archive_of(CONTENT, server.url("a.bin"))).read_bytes() == CONTENT
    assert server.asked == [("a.bin", 0), ("a.bin", 3000)]


def test_a_server_that_sends_another_range_is_not_believed(server, fetching):
    (fetching.folder / "a.bin.part").write_bytes(CONTENT[:5000])
    server.other_range = True
    told = message(lambda: fetching(archive_of(CONTENT, server.url("a.bin"))))
    assert "another range" in told and (fetching.folder / "a.bin.part").read_bytes() == CONTENT[:5000]


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(server, fetching):
    archive = archive_of(b"other", server.url("a.bin"))
    told = message(lambda: fetching(archive))
    assert server.url("a.bin") in told and f"got md5 {hashlib.md5(CONTENT).hexdigest()}" in told
    assert archive.checksum.removeprefix("md5:") in told
    assert names(fetching.folder) == [] and len(server.asked) == 1


def test_a_wrong_size_is_found_out_before_the_transfer(server, fetching):
    told = message(lambda: fetching(archive_of(CONTENT, server.url("a.bin"), size=3)))
    assert f"has {len(CONTENT)} bytes, wanted 3" in told and fetching.reported == []


@pytest.mark.parametrize("bad", [b"damaged", None], ids=["damaged", "404"])
def test_the_next_address_is_asked_when_one_will_not_do(server, fetching, bad):
    server.files |= {"b/a.bin": CONTENT} | ({} if bad is None else {"a/a.bin": bad})
    path = fetching(archive_of(CONTENT, server.url("a/a.bin"), server.url("b/a.bin")))
    assert path.read_bytes() == CONTENT
    assert server.asked == [("a/a.bin", 0), ("b/a.bin", 0)] and fetching.pauses == []


def test_a_file_that_is_nowhere_is_one_line_and_not_asked_for_again(server, fetching):
    told = message(lambda: fetching(archive_of(CONTENT, server.url("x/no.bin"), server.url("y/no.bin"))))
    assert server.url("x/no.bin") in told and "HTTP 404" in told and "nor from 1 other" in told
    assert f"put it at {fetching.folder / 'no.bin'}" in told
    assert len(server.asked) == 2 and fetching.pauses == [] and names(fetching.folder) == []


def test_a_server_that_is_busy_is_asked_again_later_and_later(server, fetching):
    server.status = {"a.bin": [503, 429, 500]}
    assert fetching(archive_of(CONTENT, server.url("a.bin"))).read_bytes() == CONTENT
    assert fetching.pauses == [1.0, 2.0, 4.0]
    assert any("HTTP 503" in said and "again in 1 s" in said for said in fetching.said)


def test_without_a_network_the_error_says_what_to_do(server, fetching):
    url = server.url("a.bin")
    part = fetching.folder / "a.bin.part"
    part.write_bytes(CONTENT[:100])
    server_gone = url.replace(f":{server.port}/", ":1/")  # nobody listens there
    told = message(lambda: fetching(archive_of(CONTENT, server_gone)))
    assert server_gone in told and "refused" in told and "check the network" in told
    assert f"put it at {fetching.folder / 'a.bin'}" in told and "goes on after 100 bytes" in told
    assert fetching.pauses == [1.0, 2.0, 4.0, 8.0, 16.0] and part.read_bytes() == CONTENT[:100]


def test_a_file_put_there_by_hand_is_checked(server, fetching):
    (fetching.folder / "a.bin").write_bytes(b"mine")
    told = message(lambda: fetching(archive_of(CONTENT, server.url("a.bin"))))
    assert "got md5" in told and "remove it" in told
    assert (fetching.folder / "a.bin").read_bytes() == b"mine" and server.asked == []


# --- archives


def tar_of(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar.gz of files (bytes), or of members as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


PUBLISHED = {
    "LibriSpeech/README.TXT": b"read me",
    "LibriSpeech/SPEAKERS.TXT": b"speakers",
    "LibriSpeech/dev-clean/1/2/1-2.trans.txt": b"1-2-0 A\n",
    "LibriSpeech/dev-clean/1/2/1-2-0.flac": b"fLaC",
}


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_archive_becomes_the_published_tree(server, fetching):
    content = tar_of(PUBLISHED)
    server.files["dev-clean.tar.gz"] = content
    root = fetching.folder / "data" / "LibriSpeech"
    archive = archive_of(content, server.url("dev-clean.tar.gz"), inside="LibriSpeech/dev-clean")
    wanted = Wanted(archive, root / "dev-clean", root.parent)
    root.mkdir(parents=True)
    (root / "README.TXT").write_bytes(b"mine")
    fetching.obtain(wanted)
    tree = {name.removeprefix("LibriSpeech/"): text for name, text in PUBLISHED.items()}
    assert content_of(root) == tree | {"README.TXT": b"mine"}  # what is there stays
    assert names(root.parent) == ["LibriSpeech"]  # neither archive nor lock
    (root / "dev-clean" / "mine.txt").write_bytes(b"mine")
    fetching.obtain(wanted)
    assert len(server.asked) == 1 and (root / "dev-clean" / "mine.txt").exists()


def test_an_archive_put_there_by_hand_is_used_and_kept(server, fetching):
    content = tar_of(PUBLISHED)
    (fetching.folder / "dev-clean.tar.gz").write_bytes(content)
    archive = archive_of(content, server.url("dev-clean.tar.gz"), inside="LibriSpeech/dev-clean")
    fetching.obtain(Wanted(archive, fetching.folder / "L" / "dev-clean", fetching.folder))
    assert server.asked == [] and names(fetching.folder) == ["L", "dev-clean.tar.gz"]
    assert names(fetching.folder / "L") == ["README.TXT", "SPEAKERS.TXT", "dev-clean"]


def test_a_root_that_is_the_folder_of_the_archive(fetching):
    path = fetching.folder / "LJSpeech-1.1.tar.bz2"
    tar = tar_of({"LJSpeech-1.1/metadata.csv": b"a|b|b\n", "LJSpeech-1.1/wavs/a.wav": b"RIFF"})
    path.write_bytes(bz2.compress(gzip.decompress(tar)))
    unpack(path, "LJSpeech-1.1", fetching.folder / "voice")
    assert sorted(content_of(fetching.folder / "voice")) == ["metadata.csv", "wavs/a.wav"]


HOSTILE: dict[str, dict[str, bytes | tarfile.TarInfo]] = {
    "parent": {"../evil.txt": b"evil"},
    "deep parent": {"LibriSpeech/dev-clean/../../../evil.txt": b"evil"},
    "through a link": {
        "LibriSpeech/out": link("LibriSpeech/out", ".."),
        "LibriSpeech/out/../../../evil.txt": b"",
    },
}


@pytest.mark.parametrize("members", HOSTILE.values(), ids=list(HOSTILE))
def test_a_path_that_leads_outside_is_refused(fetching, members):
    path = fetching.folder / "x.tar.gz"
    path.write_bytes(tar_of(PUBLISHED | members))
    root = fetching.folder / "deep" / "LibriSpeech"
    told = message(lambda: unpack(path, "LibriSpeech/dev-clean", root / "dev-clean"))
    assert "evil.txt" in told and "outside" in told
    assert not list(fetching.folder.rglob("evil.txt")) and not list(root.iterdir())


def test_links_and_devices_are_left_out_and_absolute_names_stay_inside(fetching):
    path = fetching.folder / "x.tar.gz"
    secret = fetching.folder / "secret.txt"
    secret.write_bytes(b"secret")
    inside = "LibriSpeech/dev-clean"
    extra = {
        "1": link(f"{inside}/link", str(secret)),
        "2": link(f"{inside}/hard", str(secret), tarfile.LNKTYPE),
        "3": link(f"{inside}/fifo", "", tarfile.FIFOTYPE),
        "4": link(f"{inside}/up", "../.."),
        f"/{inside}/absolute.txt": b"here",
        f"{inside}/up/file.txt": b"not above",
    }
    path.write_bytes(tar_of(PUBLISHED | extra))
    root = fetching.folder / "LibriSpeech"
    assert unpack(path, inside, root / "dev-clean") == 4
    found = content_of(root)
    assert {"dev-clean/absolute.txt", "dev-clean/up/file.txt"} <= set(found)
    assert not any(p.is_symlink() for p in root.rglob("*")) and b"secret" not in found.values()
    assert len(found) == len(PUBLISHED) + 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no archive at all", "cannot be unpacked"),
        (tar_of(PUBLISHED)[:100], "cannot be unpacked"),
        (tar_of({"LibriSpeech/test-clean/a.txt": b""}), "has no folder LibriSpeech/dev-clean"),
    ],
    ids=["no archive", "truncated", "other part"],
)
def test_a_damaged_archive_is_one_line_and_leaves_nothing(fetching, content, said):
    path = fetching.folder / "x.tar.gz"
    path.write_bytes(content)
    root = fetching.folder / "LibriSpeech"
    told = message(lambda: unpack(path, "LibriSpeech/dev-clean", root / "dev-clean"))
    assert str(path) in told and said in told and names(root) == []


# --- what is published


ALL = [*(librispeech_archive(part) for part in LIBRISPEECH), LJSPEECH, AN4, *TEXTS.values()]


@pytest.mark.parametrize("archive", ALL, ids=lambda archive: archive.name)
def test_a_published_archive_has_addresses_of_one_name_and_a_checksum(archive):
    assert all(re.fullmatch(rf"https?://[\w.-]+/\S*{re.escape(archive.name)}", url) for url in archive.urls)
    assert len(set(archive.urls)) == len(archive.urls)
    assert re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.checksum)


def test_the_parts_of_960_h_are_60_gb(tmp_path):
    parts = ["train-clean-100", "train-clean-360", "train-other-500"]
    parts += ["dev-clean", "dev-other", "test-clean", "test-other", "dev-clean"]
    wanted, unknown = wanted_of_corpus("librispeech", tmp_path / "LibriSpeech", parts)
    assert unknown == [] and len(wanted) == 7  # each once
    assert sum(one.archive.size or 0 for one in wanted) == 61357943031
    assert {one.to.parent for one in wanted} == {tmp_path / "LibriSpeech"}
    assert {one.folder for one in wanted} == {tmp_path}


def test_what_is_there_is_not_wanted(tmp_path):
    root = tmp_path / "LibriSpeech"
    (root / "dev-clean").mkdir(parents=True)
    wanted, unknown = wanted_of_corpus("librispeech", root, ["dev-clean", "test-clean", "dev-4spk"])
    assert [one.archive.name for one in wanted] == ["test-clean.tar.gz"] and unknown == [root / "dev-4spk"]
    for corpus in ("ljspeech", "an4"):
        assert wanted_of_corpus(corpus, root, ["all"]) == ([], [])
        [one] = wanted_of_corpus(corpus, tmp_path / "none", ["all"])[0]
        assert (one.to, one.folder) == (tmp_path / "none", tmp_path)
    assert wanted_of_corpus("csj", tmp_path / "none", ["core"]) == ([], [tmp_path / "none"])
    text = tmp_path / "librispeech-lm-norm.txt.gz"
    assert [one.to for one in wanted_of_text(text)[0]] == [text]
    assert wanted_of_text(tmp_path / "mine.txt") == ([], [tmp_path / "mine.txt"])
    text.touch()
    assert wanted_of_text(text) == ([], [])


# --- as a command


@pytest.fixture
def published(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server with a text that the recipe knows; nobody listens at its published address."""
    content = b"A TEXT\n" * 100
    server.files["librispeech-lm-norm.txt.gz"] = content
    gone = "http://127.0.0.1:1/librispeech-lm-norm.txt.gz"
    monkeypatch.setitem(TEXTS, "librispeech-lm-norm.txt.gz", archive_of(content, gone))
    return server


def test_nothing_is_fetched_unasked(
    published: Server, tmp_path: Path, recipes_here: Callable[..., tuple[int, str, str]]
) -> None:
    text = tmp_path / "librispeech-lm-norm.txt.gz"
    mirror = f"mirror=http://127.0.0.1:{published.port}"
    command = ["egs/librispeech/lm/mini.yaml", f"exp_dir={tmp_path / 'exp'}", f"text.path={text}", mirror]
    code, _, error = recipes_here(*command, recipe="lm")
    assert code == 2 and f"{text}: is not there" in error and "download=true" in error
    code, output, _ = recipes_here(*command, "--dry-run", recipe="lm")
    assert code == 0 and "waits for" in output
    code, output, _ = recipes_here(*command, "download=true", "--dry-run", recipe="lm")
    assert code == 0 and "would fetch 1 file" in output
    assert published.asked == [] and not text.exists()


def test_it_is_fetched_when_asked_and_then_found(
    published: Server, tmp_path: Path, recipes_here: Callable[..., tuple[int, str, str]]
) -> None:
    text = tmp_path / "librispeech-lm-norm.txt.gz"
    command = ["egs/librispeech/lm/mini.yaml", f"exp_dir={tmp_path / 'exp'}", f"text.path={text}"]
    command += [f"mirror=http://127.0.0.1:{published.port}/", "download=true", "tokenizer=/nowhere"]
    for _ in range(2):
        code, output, error = recipes_here(*command, recipe="lm")
        assert code == 2 and "/nowhere does not exist" in error  # of the first stage: the text is there
    assert "everything is there" in output
    assert text.read_bytes() == published.files[text.name] and len(published.asked) == 1


def test_other_processes_wait_for_what_the_first_one_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "launched", lambda: Launched(1, 2, outside=True))
    wanted = [Wanted(LJSPEECH, tmp_path / name, tmp_path) for name in ("one", "two")]
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        (tmp_path / ("one", "two")[len(naps)]).mkdir()  # as the first process does, one after the other
        naps.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    told = io.StringIO()
    config = DownloadingConfig(exp_dir="exp", download=True)
    context = RecipeContext(config, Console(file=told), "command")
    provide(context, wanted, [], dry_run=True)
    assert naps == []
    provide(context, wanted, [], dry_run=False)
    assert len(naps) == 2 and told.getvalue() == ""


def test_what_is_not_published_is_named(
    tmp_path: Path, recipes_here: Callable[..., tuple[int, str, str]]
) -> None:
    root = tmp_path / "LibriSpeech"
    command = ["egs/librispeech/asr/mini.yaml", "corpus.train=[train-mine]", f"corpus.root={root}"]
    code, _, error = recipes_here(*command, f"exp_dir={tmp_path / 'exp'}", "download=true")
    assert code == 2 and f"no published archive of {root / 'train-mine'} is known" in error


def test_a_mirror_is_asked_first(tmp_path: Path) -> None:
    wanted = Wanted(LJSPEECH, tmp_path / "LJ", tmp_path)
    changed = from_mirror(wanted, "http://here/corpora/")
    assert changed.archive.urls == ("http://here/corpora/LJSpeech-1.1.tar.bz2", *LJSPEECH.urls)
    assert (changed.archive.name, changed.to) == (LJSPEECH.name, wanted.to)
    config = tmp_path / "a.yaml"
    config.write_text("exp_dir: exp\n")
    assert load_config(DownloadingConfig, config).download is False
    assert "mirror" in message(lambda: load_config(DownloadingConfig, config, ["mirror=file:///etc"]))
