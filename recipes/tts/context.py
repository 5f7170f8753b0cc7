"""What the stages of the synthesis recipe share: the config and where things lie."""

import json
from functools import cached_property

from lhotse import CutSet
from safetensors.torch import load_file
from torch import Tensor

from recipes.context import RecipeContext, check_trainer
from recipes.tts.config import TTSRecipe
from s4speech.config.tts import AdversarialConfig, AutoregressiveConfig, VocoderTrainConfig
from s4speech.data.speech import TensorFile
from s4speech.errors import InputError
from s4speech.models.tts.autoregressive import AutoregressiveModel
from s4speech.models.tts.parallel import ParallelModel
from s4speech.models.vocoder.vocoder import Vocoder
from s4speech.text.characters import Speller
from s4speech.text.phonemes import SYMBOLS
from s4speech.train.trainer import average_checkpoints, best_checkpoints


class TTSContext(RecipeContext[TTSRecipe]):
    """One run of the synthesis recipe."""

    def cuts(self, name: str) -> CutSet:
        """The cuts that the prepare stage wrote; name: train, valid or test."""
        return CutSet.from_jsonl(self.exp_dir / "prepare" / f"{name}.jsonl.gz").to_eager()

    @property
    def pitch(self) -> TensorFile:
        """F0 of every utterance, of the stats stage."""
        return TensorFile(self.exp_dir / "stats" / "pitch.safetensors")

    @cached_property
    def statistics(self) -> dict[str, Tensor]:
        """Of the stats stage."""
        found: dict[str, Tensor] = load_file(self.exp_dir / "stats" / "stats.safetensors")
        return found

    @cached_property
    def speakers(self) -> dict[str, int]:
        """Number of each speaker."""
        return {voice.speaker: i for i, voice in enumerate(self.config.corpus.voices)}

    @cached_property
    def spoken(self) -> dict[str, dict[str, list[object]]]:
        """Tokens and words of every utterance, of the text stage."""
        content: dict[str, dict[str, list[object]]] = json.loads(
            (self.exp_dir / "text" / "spoken.json").read_text("utf-8")
        )
        return content

    @property
    def symbols(self) -> tuple[str, ...]:
        """What a token can be."""
        return SYMBOLS if self.config.text.unit == "phonemes" else Speller.symbols

    @cached_property
    def token_ids(self) -> dict[str, list[int]]:
        """Of every utterance."""
        number = {symbol: i for i, symbol in enumerate(self.symbols)}
        return {name: [number[str(t)] for t in one["tokens"]] for name, one in self.spoken.items()}

    @property
    def durations(self) -> TensorFile:
        """Frames of each token of every utterance, of the align stage."""
        return TensorFile(self.exp_dir / "align" / "durations.safetensors")

    def build_acoustic(self) -> ParallelModel | AutoregressiveModel:
        """A fresh acoustic model with the statistics of the corpus."""
        config = self.config
        sizes = (len(self.symbols), config.mel)
        model: ParallelModel | AutoregressiveModel
        if isinstance(config.model, AutoregressiveConfig):
            model = AutoregressiveModel(*sizes, config.model, len(self.speakers))
        else:
            model = ParallelModel(*sizes, config.model, len(self.speakers))
        model.set_statistics(*(self.statistics[name] for name in ("mean", "std", "pitch")))
        return model

    def trained_acoustic(self) -> ParallelModel:
        """As the train stage left it. Raises InputError: it is an autoregressive model."""
        model = self.trained_model()
        if not isinstance(model, ParallelModel):
            raise InputError(
                "model.type: got autoregressive, this stage can only use parallel; run up to stage train, "
                "and name this recipe in synthesize.compare of a parallel one"
            )
        return model

    def trained_model(self) -> ParallelModel | AutoregressiveModel:
        """Either kind, as the train stage left it."""
        model = self.build_acoustic()
        model.load_state_dict(self.best("train", self.config.train.keep))
        return model.eval().requires_grad_(False)

    def build_vocoder(self) -> Vocoder:
        """A fresh vocoder with the statistics of the corpus."""
        vocoder = Vocoder(self.config.mel, self.config.vocoder)
        vocoder.set_statistics(self.statistics["mean"], self.statistics["std"])
        return vocoder

    def best(self, stage: str, keep: int, mode: str = "min") -> dict[str, Tensor]:
        """The mean of the best checkpoints of a training stage. Raises InputError: there is none."""
        folder = self.exp_dir / stage / "checkpoints"
        paths = best_checkpoints(folder, keep, mode)
        if not paths:
            raise InputError(f"{folder}: no checkpoint; delete {folder.parent} and train again")
        return average_checkpoints(paths)

    @property
    def finetuning(self) -> VocoderTrainConfig:
        """Of the finetune stage: section `adversarial`, or `finetune` where there is none."""
        return self.config.adversarial or self.config.finetune

    def trained_vocoder(self, stage: str) -> Vocoder:
        """As one of its stages left it: vocoder or finetune."""
        train = self.config.train_vocoder if stage == "vocoder" else self.finetuning
        vocoder = self.build_vocoder()
        mode = "max" if isinstance(train, AdversarialConfig) else "min"
        vocoder.load_state_dict(self.best(stage, train.keep, mode))
        return vocoder.eval().requires_grad_(False)

    def recording_vocoder(self) -> Vocoder:
        """The one that belongs to frames of recordings, as it is used."""
        return self._used("vocoder")

    def final_vocoder(self) -> Vocoder:
        """The one that belongs to the acoustic model, as it is used."""
        return self._used("finetune")

    def _used(self, stage: str) -> Vocoder:
        vocoder = self.trained_vocoder(stage)
        vocoder.noise_scale = self.config.synthesize.noise_scale
        return vocoder

    def check_vocoder(self) -> None:
        """Raises InputError: `train_vocoder` wants GPUs that are not there."""
        check_trainer(self.config.train_vocoder, "train_vocoder")

    def check_finetune(self) -> None:
        """Raises InputError: as `check_vocoder`; or the frames would come from an autoregressive model."""
        check_trainer(self.finetuning, "adversarial" if self.config.adversarial else "finetune")
        if isinstance(self.config.model, AutoregressiveConfig):
            raise InputError(
                "model.type: got autoregressive, stage finetune can only use parallel; add --stop-stage train"
            )

    def check_align(self) -> None:
        """Raises InputError: `align` wants GPUs that are not there."""
        check_trainer(self.config.align, "align")

    def check_train(self) -> None:
        """Raises InputError: `train` wants GPUs that are not there."""
        check_trainer(self.config.train)
