"""Stage tune: weights of language models, from the validation part; here of a model of whole utterances."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from lhotse.cut import Cut

from recipes.asr.config import FusedLM, TuneConfig
from recipes.asr.context import ASRContext
from recipes.asr.evaluation import JOINT, Clock, duration_batches, hear_cuts, search_as
from recipes.asr.lms import NONE, choose, load_lms, tuning_part
from recipes.asr.shards import Prepare, Result, Shards, Work
from recipes.asr.training import averaged_model
from s4speech.models.asr.decoder import FrozenDecoder
from s4speech.models.asr.model import ASRModel
from s4speech.search.hypothesis import Scorer


def tune(context: ASRContext, folder: Path) -> None:
    """Joint search of the validation part at each point of `decode.tune` -> tune.json."""
    config = context.config.decode
    assert config.tune is not None  # the stage is there only with it
    try_points(context, folder, config.tune, _prepare)


def try_points(context: ASRContext, folder: Path, config: TuneConfig, prepare: Prepare) -> None:
    """The validation part with what `prepare` makes, whose rows are `tried`, -> tune.json."""
    batches = duration_batches(tuning_part(context, config), context.config.decode.max_duration_s)
    shards = Shards(folder, {"valid": batches})
    shards.run(context, prepare, "tune")
    choose(context, folder, config, (row for one in shards.results("valid") for row in one["rows"]))
    shards.remove()


def tried(batch: Sequence[Cut], found: Mapping[str, Sequence[Sequence[str]]]) -> Result:
    """Rows of `choose`. found: by language model, for each point the texts of the batch."""
    rows = [
        {"id": cut.id, "ref": cut.supervisions[0].text}
        | {"texts": {name: [point[i] for point in points] for name, points in found.items()}}
        for i, cut in enumerate(batch)
    ]
    return {"rows": rows}


def _prepare(context: ASRContext) -> Work:
    model = averaged_model(context).to(context.decode_device)
    return partial(_tune_batch, context, model, model.decoder.freeze(), load_lms(context))


def _tune_batch(
    context: ASRContext,
    model: ASRModel,
    frozen: FrozenDecoder,
    lms: Mapping[str, Scorer],
    batch: Sequence[Cut],
) -> Result:
    config = context.config.decode
    assert config.tune is not None
    heard = hear_cuts(context, model, batch, Clock(context.decode_device))

    def texts(fused: tuple[Scorer, FusedLM] | None) -> list[str]:
        found = search_as(config, JOINT, frozen, heard, fused)
        return [context.tokenizer.decode(best[0].tokens) for best in found]

    found = {NONE: [texts(None)]}
    for name, scorer in lms.items():
        points = (config.lms[name].model_copy(update=point) for point in config.tune.points)
        found[name] = [texts((scorer, lm)) for lm in points]
    return tried(batch, found)
