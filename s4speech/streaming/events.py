"""What a session says while it listens."""

from dataclasses import dataclass
from typing import TypeAlias

from s4speech.streaming.transcript import Segment


@dataclass(frozen=True)
class Partial:
    """The words so far of the segment in progress. Each one replaces the one before it."""

    text: str
    stable_text: str  # the words at its beginning that will not change any more
    start_s: float  # of the first word, in seconds of the stream; heard_s while there is none
    heard_s: float  # how much of the stream has been heard


@dataclass(frozen=True)
class Final:
    """A finished segment; the next `Partial` is about the words after it."""

    segment: Segment
    reason: str  # the name of the endpoint rule, or END


Event: TypeAlias = Partial | Final

END = "end"  # the reason of the segment that the end of the stream ended
