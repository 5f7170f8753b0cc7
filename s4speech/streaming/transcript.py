"""What a recogniser returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word with its place in the audio."""

    text: str
    start_s: float
    end_s: float
    confidence: float  # 0 to 1


@dataclass(frozen=True)
class Segment:
    """A stretch of speech that was decoded in one piece, at most some 20 s."""

    text: str
    start_s: float  # of the first word
    end_s: float  # of the last word
    words: tuple[Word, ...]

    @classmethod
    def of(cls, words: tuple[Word, ...]) -> "Segment | None":
        """The segment of these words, in order; None if there are none."""
        if not words:
            return None
        return cls(" ".join(word.text for word in words), words[0].start_s, words[-1].end_s, words)


@dataclass(frozen=True)
class Transcript:
    """The text of one recording, in time order. Silent recordings have no segments and an empty text."""

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    duration_s: float  # of the audio
