"""Sequence layers with two forms: parallel for training, recurrent for streaming (see `sequence`)."""

from s4speech.layers.attention import CausalAttention
from s4speech.layers.block import Chain, FeedForward, GatedMix, Residual
from s4speech.layers.conv import CausalConv
from s4speech.layers.s4d import S4D
from s4speech.layers.sequence import FrozenLayer, SequenceLayer
from s4speech.layers.state import State, cat_rows, select_rows, split_rows, where_rows

__all__ = [
    "S4D",
    "CausalAttention",
    "CausalConv",
    "Chain",
    "FeedForward",
    "FrozenLayer",
    "GatedMix",
    "Residual",
    "SequenceLayer",
    "State",
    "cat_rows",
    "select_rows",
    "split_rows",
    "where_rows",
]
