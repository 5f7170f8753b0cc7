"""Configuration of a classification recipe: egs/CORPUS/TASK/*.yaml."""

from recipes.context import Device, RecipeConfig
from s4speech.config.asr import Positive
from s4speech.config.base import StrictModel
from s4speech.config.classify import ClassifierConfig, ClassifyTrainConfig, TaskConfig


class EvaluateConfig(StrictModel):
    """batch_size: sequences scored together. device: auto is a GPU where there is one."""

    batch_size: Positive = 32
    device: Device = "auto"


class ClassifyRecipe(RecipeConfig):
    """A whole recipe."""

    task: TaskConfig
    model: ClassifierConfig
    train: ClassifyTrainConfig = ClassifyTrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
