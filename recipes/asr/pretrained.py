"""A model directory in place of a training: its model is decoded, compared, scored, packaged again."""

from pathlib import Path

from recipes.asr.config import ASRRecipe
from recipes.asr.context import ASRContext
from s4speech.config.base import load_config
from s4speech.errors import InputError
from s4speech.models.directory import check_directory
from s4speech.models.loading import save_tensors
from s4speech.models.package import ASRPackageConfig, load_asr


def with_pretrained(config: ASRRecipe, dry_run: bool = False) -> ASRRecipe:
    """The recipe with the model section of the directory `pretrained`.

    Raises InputError: it is not there, which a dry run says in its plan; or the recipe would write over it.
    """
    if config.pretrained is None:
        return config
    folder = Path(config.pretrained)
    if folder.resolve().is_relative_to(Path(config.exp_dir).resolve()):
        raise InputError(
            f"pretrained: {folder} lies in exp_dir, {config.exp_dir}, where package would write over it;"
            " choose another exp_dir"
        )
    if dry_run and not folder.exists():
        return config
    check_directory(folder)
    package = load_config(ASRPackageConfig, folder / "config.yaml")
    model = package.model.model_copy(update={"vocab_size": None})
    sections = {"model": model.model_dump()}
    if "language" not in config.package.model_fields_set:
        sections["package"] = config.package.model_dump() | {"language": package.language}
    return ASRRecipe.model_validate(config.model_dump() | sections)


def source(context: ASRContext) -> Path:
    """The directory."""
    assert context.config.pretrained is not None  # the stages are there only with it
    return Path(context.config.pretrained)


def has_language_model(context: ASRContext) -> bool:
    """The recipe begins from a directory that has one."""
    if context.config.pretrained is None:
        return False
    return load_config(ASRPackageConfig, source(context) / "config.yaml").lm is not None


def tokenizer(context: ASRContext, folder: Path) -> None:
    """The directory's tokenizer, in place of one that is trained."""
    (folder / "tokenizer.model").write_bytes((source(context) / "tokenizer.model").read_bytes())


def average(context: ASRContext, folder: Path) -> None:
    """The directory's weights, in place of an average of checkpoints."""
    save_tensors(folder / "model.safetensors", load_asr(source(context)).model.state_dict())
    context.say(f"average: the model of {source(context)}")
