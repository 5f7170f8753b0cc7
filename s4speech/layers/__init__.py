"""Sequence layers with two forms: parallel for training, recurrent for streaming (see `sequence`)."""

from s4speech.layers.attention import CausalAttention
from s4speech.layers.block import Chain, FeedForward, GatedMix, Residual
from s4speech.layers.conv import CausalConv
from s4speech.layers.dss import DSS
from s4speech.layers.lssl import LSSL
from s4speech.layers.s4 import S4
from s4speech.layers.s4d import S4D
from s4speech.layers.s5 import S5
from s4speech.layers.sequence import FrozenLayer, SequenceLayer, StateSpaceLayer
from s4speech.layers.state import State, cat_rows, select_rows, split_rows, where_rows

__all__ = [
    "DSS",
    "LSSL",
    "S4",
    "S4D",
    "S5",
    "CausalAttention",
    "CausalConv",
    "Chain",
    "FeedForward",
    "FrozenLayer",
    "GatedMix",
    "Residual",
    "SequenceLayer",
    "State",
    "StateSpaceLayer",
    "cat_rows",
    "select_rows",
    "split_rows",
    "where_rows",
]
