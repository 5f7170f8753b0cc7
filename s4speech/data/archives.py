"""Where the corpora are published, and what tells that an archive is the right one.

LibriSpeech: the MD5 sums are those of https://www.openslr.org/resources/12/md5sum.txt and .../31/md5sum.txt,
the sizes those of Kaldi's egs/librispeech/s5/local/download_and_untar.sh. openslr.org/11 has no sum of the
language model's text: this one is what several public projects have computed of it (pydrobert-pytorch's and
CAT's LibriSpeech recipes among them). LJSpeech: the SHA-256 of torchaudio.datasets.LJSPEECH. AN4: its authors
publish no sum and their own address answers no more; the SHA-256 is what one public project has computed of
NVIDIA's copy, and was not compared with a second source.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from s4speech.data.download import Archive, Wanted

OPENSLR = (
    "https://www.openslr.org/resources",
    "https://openslr.trmal.net/resources",
    "https://openslr.elda.org/resources",
    "https://openslr.magicdatatech.com/resources",
)
LIBRISPEECH = {  # part: (resource, MD5, bytes)
    "dev-clean": (12, "42e2234ba48799c1f50f24a7926300a1", 337_926_286),
    "dev-other": (12, "c8d0bcc9cca99d4f8b62fcc847357931", 314_305_928),
    "test-clean": (12, "32fa31d27d2e1cad72775fee3f4849a9", 346_663_984),
    "test-other": (12, "fb5a50374b501bb3bac4815ee91d3135", 328_757_843),
    "train-clean-100": (12, "2a93770f6d5c6c964bc36631d331a522", 6_387_309_499),
    "train-clean-360": (12, "c0e676e450a7ff2f54aeade5171606fa", 23_049_477_885),
    "train-other-500": (12, "d1a0fd59409feb2c614ce4d30c387708", 30_593_501_606),
    "train-clean-5": (31, "5df7d4e78065366204ca6845bb08f490", None),
    "dev-clean-2": (31, "6d7ab67ac6a1d2c993d050e16d61080d", None),
}
LJSPEECH = Archive(
    ("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",),
    "sha256:be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
    2_748_572_632,
    inside="LJSpeech-1.1",
)
AN4 = Archive(
    (
        "https://dldata-public.s3.us-east-2.amazonaws.com/an4_sphere.tar.gz",
        "https://huggingface.co/datasets/espnet/an4/resolve/main/an4_sphere.tar.gz",
        "http://www.speech.cs.cmu.edu/databases/an4/an4_sphere.tar.gz",
    ),
    "sha256:a0525579493735d32b60fb6fa5975dd0eaacde087b0a4eeb7f13b7ef33077b12",
    inside="an4",
)
TEXTS = {  # file name: archive
    "librispeech-lm-norm.txt.gz": Archive(
        tuple(f"{host}/11/librispeech-lm-norm.txt.gz" for host in OPENSLR),
        "md5:c83c64c726a1aedfe65f80aa311de402",
    )
}


def librispeech_archive(part: str) -> Archive:
    """The archive of a published part, which is one of `LIBRISPEECH`."""
    resource, md5, size = LIBRISPEECH[part]
    urls = tuple(f"{host}/{resource}/{part}.tar.gz" for host in OPENSLR)
    return Archive(urls, f"md5:{md5}", size, inside=f"LibriSpeech/{part}")


def wanted_of_corpus(corpus: str, root: Path, parts: Sequence[str]) -> tuple[list[Wanted], list[Path]]:
    """What there is to fetch of a corpus for what its `root` lacks; and what is lacking and not published.

    corpus: a name of `s4speech.data.corpora`. What is there is never wanted, whatever is in it.
    """
    if corpus == "librispeech":
        lacking = [part for part in dict.fromkeys(parts) if not (root / part).exists()]
        published = [part for part in lacking if part in LIBRISPEECH]
        wanted = [Wanted(librispeech_archive(part), root / part, root.parent) for part in published]
        return wanted, [root / part for part in lacking if part not in LIBRISPEECH]
    if root.exists():
        return [], []
    one = {"ljspeech": LJSPEECH, "an4": AN4}.get(corpus)
    return ([], [root]) if one is None else ([Wanted(one, root, root.parent)], [])


def wanted_of_text(path: Path) -> tuple[list[Wanted], list[Path]]:
    """The same of a text file, which is known by its name."""
    if path.exists():
        return [], []
    one = TEXTS.get(path.name)
    return ([], [path]) if one is None else ([Wanted(one, path, path.parent)], [])


def from_mirror(wanted: Wanted, mirror: str) -> Wanted:
    """The same, asked for at `mirror`/NAME first."""
    first = f"{mirror.rstrip('/')}/{wanted.archive.name}"
    return replace(wanted, archive=replace(wanted.archive, urls=(first, *wanted.archive.urls)))
