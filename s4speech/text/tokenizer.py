"""Text to token ids and back, with sentencepiece."""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal
from unicodedata import east_asian_width

import sentencepiece

from s4speech.errors import InputError
from s4speech.files import write_by_rename

ModelType = Literal["bpe", "unigram", "char"]

BLANK, UNKNOWN, EOS = 0, 1, 2
SOS = EOS  # one token is both
_SPECIAL = ("<blank>", "<unk>", "<sos/eos>")
_WORD_START = "\u2581"  # sentencepiece's mark for the space before a word
_CHARACTERS = 1 << 20  # more than any script has
_UNKNOWN_TEXT = "\u2047"  # what an unknown token reads as


class Tokenizer:
    """A sentencepiece model whose first ids are the CTC blank, the unknown and the start/end of sentence.

    Immutable, and safe to share between threads and to pickle.
    """

    def __init__(self, model: bytes, name: str = "tokenizer") -> None:
        """Read a serialised sentencepiece ``model``; ``name`` says in errors where it came from.

        Raises InputError: not a sentencepiece model, or one whose first ids are not this class's.
        """
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            size = self._processor.get_piece_size()
        except RuntimeError as error:
            raise InputError(
                f"{name}: not a sentencepiece model ({len(model)} bytes); wanted the tokenizer.model that"
                " the tokenizer stage writes; run that stage again or copy the file again"
            ) from error
        self.pieces: tuple[str, ...] = tuple(self._processor.id_to_piece(i) for i in range(size))
        if self.pieces[:3] != _SPECIAL:
            raise InputError(
                f"{name}: the first pieces are {list(self.pieces[:3])}, wanted {list(_SPECIAL)}; use a"
                " tokenizer.model that s4speech trained"
            )
        self._model = model
        self._name = name

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[bytes, str]]:
        """Pickle as the serialised model."""
        return Tokenizer, (self._model, self._name)

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a ``tokenizer.model`` file. Raises InputError: missing, unreadable, or not ours."""
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"{path}: cannot read the tokenizer ({error.strerror}); wanted a tokenizer.model file"
            ) from error
        return cls(model, str(path))

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        model_path: str | Path,
        vocab_size: int | None,
        model_type: ModelType = "bpe",
    ) -> "Tokenizer":
        """Learn ``vocab_size`` pieces (the three special ones included) and write them to ``model_path``.

        None, for characters only: as many as the texts have. Japanese and Chinese texts without any space get
        no piece for the start of a word. The same texts give the same file, byte for byte.

        Raises InputError: no text, or a vocabulary that this text cannot fill or fit (names the limit).
        """
        if vocab_size is None and model_type != "char":
            raise InputError(f"tokenizer.vocab_size: got null for a {model_type} model, wanted a number")
        written = io.BytesIO()
        texts = list(texts)
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=written,
                # A char model has the text's characters; asked for fewer, it drops some without a word.
                vocab_size=_CHARACTERS if model_type == "char" else vocab_size,
                add_dummy_prefix=not _without_spaces(texts),
                model_type=model_type,
                pad_id=BLANK,
                pad_piece=_SPECIAL[BLANK],
                unk_id=UNKNOWN,
                unk_piece=_SPECIAL[UNKNOWN],
                bos_id=-1,
                eos_id=EOS,
                eos_piece=_SPECIAL[EOS],
                character_coverage=1.0,
                # Normalising is the recipe's work, done once and seen in its manifests.
                normalization_rule_name="identity",
                # Longer lines would be left out without a word; this is sentencepiece's largest.
                max_sentence_length=1 << 30,
                num_threads=1,
                minloglevel=2,
            )
        except RuntimeError as error:
            raise InputError(_training_error(str(error), vocab_size, model_type)) from error
        tokenizer = cls(written.getvalue(), str(model_path))
        if vocab_size is not None and tokenizer.vocab_size != vocab_size:
            raise InputError(
                f"tokenizer.vocab_size: got {vocab_size}, but a {model_type} model of this text has"
                f" {tokenizer.vocab_size} pieces; set it to {tokenizer.vocab_size}"
            )
        write_by_rename(model_path, written.getvalue())
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """How many pieces there are, the special ones included."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of ``text``, without start or end; characters never seen become ``unk``."""
        ids: list[int] = self._processor.encode(text)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ``ids``: its words with one space between. Blank and end are left out."""
        return " ".join(word for word, _ in self.words(ids))

    def words(self, ids: Sequence[int]) -> list[tuple[str, slice]]:
        """Return each word of ``ids`` with the slice of ``ids`` that makes it (for word times).

        Blank and end tokens make no word. Raises IndexError: an id outside the vocabulary.
        """
        groups: list[tuple[str, slice]] = []
        for index, token in enumerate(ids):
            if not 0 <= token < len(self.pieces):
                raise IndexError(f"token {token} at index {index}: wanted 0 to {len(self.pieces) - 1}")
            if token in (BLANK, EOS):
                continue
            piece = _UNKNOWN_TEXT if token == UNKNOWN else self.pieces[token]
            if piece.startswith(_WORD_START) or not groups:
                groups.append((piece.removeprefix(_WORD_START), slice(index, index + 1)))
            else:
                text, where = groups[-1]
                groups[-1] = (text + piece, slice(where.start, index + 1))
        # A lone word mark makes a word only with what follows it.
        return [(text, where) for text, where in groups if text]


def _without_spaces(texts: Sequence[str]) -> bool:
    """No text has a space, and some have characters of a script that is written without."""
    return not any(" " in text.strip() for text in texts) and any(
        east_asian_width(character) in "WF" for text in texts for character in text[:1]
    )


def _training_error(message: str, vocab_size: int | None, model_type: str) -> str:
    """Say in our words what sentencepiece says with a source line."""
    what = f"tokenizer.vocab_size: got {vocab_size} for a {model_type} model"
    if found := re.search(r"value <= (\d+)", message):
        return f"{what}, too large for this text: the largest possible is {found[1]}; set it to that or less"
    if found := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return (
            f"{what}, too small for this text's characters: the smallest possible is {found[1]};"
            " set it to that or more"
        )
    if "sentences_.empty()" in message:
        return "tokenizer: the training text is empty; wanted at least one sentence; check the prepare stage"
    return f"{what}: sentencepiece cannot train it ({' '.join(message.split())})"
