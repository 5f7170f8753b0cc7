"""Configuration of training."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from s4speech.config.asr import NotNegative, NotNegativeFloat, Positive, PositiveFloat
from s4speech.config.augment import AugmentConfig
from s4speech.config.base import StrictModel

Part = Literal["encoder", "ctc", "decoder"]
Epochs = Annotated[int, Field(gt=0, le=100_000)]
# Keys of a training that only change how fast it goes, and where.
NOT_IN_THE_RESULT = {
    "accelerator",
    "cache_gib",
    "checkpoint_minutes",
    "devices",
    "memory_gib",
    "nodes",
    "strategy",
    "workers",
}
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class CurriculumStep(StrictModel):
    """So many epochs with utterances of at most so many seconds."""

    epochs: Epochs
    max_s: PositiveFloat


class InitConfig(StrictModel):
    """Start `parts` from the model.safetensors at `path` (of an average stage or a model directory)."""

    path: str
    parts: Annotated[list[Part], Field(min_length=1)]


class TrainerConfig(StrictModel):
    """What every training has. One line each moves it from a laptop CPU to GPUs and to several machines:
    `accelerator`, `devices` (processes on each machine), `nodes` (machines), `strategy`. None of them changes
    what is learnt: see docs/scale.md. `precision` does.

    strategy: ddp (auto, of several processes), or fsdp, which shards what does not fit on one GPU.
    optimizer: adamw, or muon for the matrices of hidden layers at muon_lr and AdamW for the rest. ssm_lr:
    learning rate of the SSM dynamics (null: min(lr, 1e-3)). schedule: warm-up, then linear (straight to 0 at
    the end of the last epoch), cosine (half a cosine, to 0 there) or inverse_sqrt (1 / sqrt(step), as in
    ESPnet). accumulate: micro-batches an optimiser step, over all processes. keep: checkpoints kept, the best
    on the validation part. validate_every: epochs between validations; the last epoch is validated too.
    checkpoint_minutes: at most that much of a training is lost when it is killed. workers: processes that
    make batches. The number of threads is torch's (OMP_NUM_THREADS).
    """

    epochs: Epochs = 60
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: PositiveFloat = 2.5e-3
    muon_lr: PositiveFloat = 2e-3
    ssm_lr: NotNegativeFloat | None = None
    schedule: Literal["linear", "cosine", "inverse_sqrt"] = "inverse_sqrt"
    warmup_steps: NotNegative = 40000
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    grad_clip: PositiveFloat = 5.0
    accumulate: Positive = 1
    precision: Literal["32-true", "bf16-mixed"] = "bf16-mixed"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: Positive = 1
    nodes: Positive = 1
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    workers: Annotated[int, Field(ge=0, le=1024)] = 4
    seed: Seed = 0
    keep: Positive = 10
    validate_every: Positive = 1
    checkpoint_minutes: PositiveFloat = 10.0

    @model_validator(mode="after")
    def _whole_steps(self) -> "TrainerConfig":
        if self.accumulate % self.processes:
            key = "devices" if self.nodes == 1 else "devices x nodes"
            raise ValueError(
                f"{key}: got {self.processes}, wanted 1 or another number that divides accumulate "
                f"({self.accumulate}), the micro-batches of a step over all processes"
            )
        if self.strategy == "fsdp" and self.optimizer == "muon":
            raise ValueError(
                "strategy: got fsdp with optimizer muon, which needs whole matrices; set optimizer to adamw, "
                "or strategy to ddp"
            )
        if self.strategy == "fsdp" and self.accelerator == "cpu":
            raise ValueError("strategy: got fsdp with accelerator cpu, wanted a GPU; set strategy to ddp")
        return self

    @property
    def processes(self) -> int:
        """Of a training, on all machines."""
        return self.devices * self.nodes

    @property
    def total_epochs(self) -> int:
        """All of them."""
        return self.epochs


class TrainConfig(TrainerConfig):
    """Training of a recognition model.

    max_duration_s: seconds of audio a micro-batch, padding included; auto: the most that fits into memory_gib
    (null: into what is free), which the stage `plan` finds once; on a CPU beside the program's own 1.2 GiB
    (null: with them).
    speeds: each utterance is heard once an epoch, at one of these speeds. augment_after: epochs at the
    beginning without SpecAugment and without dropout in the encoder. curriculum: epochs before the first full
    one with short utterances only; CTC finds the alignment of 12 s utterances far sooner after it has found
    that of 4 s ones.
    join: from epoch join_after (from 0) on, rows of a batch are joined to recordings of 1 to `join`
    utterances, drawn for each batch: a streaming model hears what follows an utterance.
    init: weights to start from (null: fresh ones). freeze: parts of the model that are not trained.
    augment: random changes of the waveforms (null: none).
    keep: these checkpoints, best by `monitor`, are averaged at the end. cache_gib: memory for features
    computed once, of a training without workers.
    """

    curriculum: list[CurriculumStep] = []
    init: InitConfig | None = None
    freeze: list[Part] = []
    augment_after: NotNegative = 0
    join: Positive = 1
    join_after: NotNegative = 0
    max_duration_s: PositiveFloat | Literal["auto"] = 400.0
    memory_gib: PositiveFloat | None = None
    speeds: Annotated[list[Annotated[float, Field(ge=0.25, le=4)]], Field(min_length=1)] = [0.9, 1.0, 1.1]
    augment: AugmentConfig | None = None
    cache_gib: NotNegativeFloat = 0.0
    monitor: Literal["valid/accuracy", "valid/wer", "valid/cer"] = "valid/accuracy"

    @field_validator("freeze")
    @classmethod
    def _something_to_train(cls, freeze: list[Part]) -> list[Part]:
        if len(set(freeze)) == 3:
            raise ValueError("wanted a part of the model that is trained")
        return freeze

    @model_validator(mode="after")
    def _one_cache(self) -> "TrainConfig":
        if self.cache_gib and self.workers:
            raise ValueError(
                f"cache_gib: got {self.cache_gib} with workers {self.workers}, which would each fill a "
                "cache and lose it at every epoch; set workers to 0, or cache_gib to 0"
            )
        if self.cache_gib and self.augment is not None:
            raise ValueError(
                f"cache_gib: got {self.cache_gib} with augment, which changes the audio in every epoch; "
                "set it to 0"
            )
        return self

    @property
    def total_epochs(self) -> int:
        """Curriculum included."""
        return sum(step.epochs for step in self.curriculum) + self.epochs

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which value of `monitor` is the best."""
        return "max" if self.monitor == "valid/accuracy" else "min"

    def max_s(self, epoch: int) -> float:
        """Longest utterance of an epoch (from 0)."""
        for step in self.curriculum:
            if epoch < step.epochs:
                return step.max_s
            epoch -= step.epochs
        return float("inf")
