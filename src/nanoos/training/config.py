"""What a training run is asked to do: a closed document, from YAML, the API or Python."""

import difflib
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator

from nanoos.core.errors import ConfigError, NotFoundError
from nanoos.core.folders import existing_path

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"
MAX_FILE_BYTES: Final = 1 << 20

Name = Annotated[str, Field(min_length=1, max_length=80, pattern=NAME_PATTERN)]
TargetName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_]+$")]
Weight = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class TrainingConfig(BaseModel):
    """A training run. The same document and the same dataset give the same weights."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )

    name: Name
    """Of the model that comes out. With several targets each is named ``NAME_TARGET``."""
    version: Annotated[str, Field(min_length=1, max_length=50, pattern=NAME_PATTERN)] = "1"
    """Of the weights."""
    dataset: Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
    """A dataset of this laboratory by name or, on the command line, a file or a folder."""
    targets: Annotated[
        TargetName
        | Annotated[list[TargetName], Field(min_length=1, max_length=32)]
        | Annotated[dict[TargetName, Weight], Field(min_length=1, max_length=32)],
        Field(validation_alias=AliasChoices("targets", "target")),
    ]
    """What to predict: a name, several, or several with the weight of each in the loss."""
    log_targets: Annotated[list[TargetName], Field(max_length=32)] = Field(default=[])
    """Targets, all above 0, whose logarithm is learned: moduli."""
    model: Literal["CGCNN", "ALIGNN", "RandomForest"] = "CGCNN"
    """Architecture."""
    epochs: int = Field(default=100, ge=1, le=100_000)
    """Passes over the training rows at most."""
    batch_size: int = Field(default=32, ge=1, le=65_536)
    """Structures in a step, of all processes together."""
    learning_rate: float = Field(default=1e-3, gt=0, le=1.0)
    """The largest in the schedule."""
    hidden_dim: int = Field(default=128, ge=4, le=4096)
    """Length of an atom's vector."""
    num_layers: int = Field(default=3, ge=1, le=64)
    """Convolutions; ALIGNN has so many of each of its two kinds."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability, in the read-outs."""
    parameters: dict[str, Any] = Field(default={})
    """Further hyper-parameters of the architecture: ``head_dim``, ``max_neighbors``, ..."""
    patience: int | None = Field(default=20, ge=1)
    """Epochs without a better validation loss after which it ends; null: all epochs."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Of weights, order of rows, dropout and split."""
    loss: Literal["l1", "mse", "huber"] = "l1"
    """On normalised targets; a probability always has the binary cross-entropy."""
    schedule: Literal["one_cycle", "cosine", "plateau", "constant"] = "one_cycle"
    """Of the learning rate."""
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    """Of AdamW."""
    gradient_clip: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    """Largest norm of a step's gradient."""
    averaging: Literal["none", "ema", "swa"] = "none"
    """Of the weights: exponential moving average, or the mean over the last epochs."""
    ema_decay: float = Field(default=0.999, gt=0, lt=1)
    """Of the moving average, for each step."""
    swa_start: float = Field(default=0.75, ge=0, lt=1)
    """Part of the epochs after which the mean begins."""
    precision: Literal["32", "bf16", "16"] = "32"
    """Of the arithmetic; 16 needs a GPU."""
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] | None = None
    """``cpu``, ``cuda``, ``cuda:1``; null: the one in the settings."""
    n_processes: int = Field(default=1, ge=1, le=64)
    """Processes that share each batch; on CUDA one for each GPU."""
    ensemble: int = Field(default=1, ge=1, le=32)
    """Networks, trained one after the other, that differ in their seed."""
    init_from: (
        Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")] | None
    ) = None
    """Fine-tune: the name of a trained or shipped model or, on the command line, a file."""
    freeze_trunk: bool = False
    """Train only the read-outs; needs ``init_from``."""
    split: Literal["composition", "random", "given"] = "composition"
    """Who is held out: no formula on both sides, rows at random, or as the dataset says."""
    outlier_filter: bool = False
    """Leave training labels beyond Tukey's fences out, and report them."""
    max_sites: int | None = Field(default=None, ge=1)
    """Leave out training structures with more atoms; validation and test keep theirs."""
    min_rows: int = Field(default=50, ge=4)
    """Labelled rows that each target needs at least."""

    @field_validator("precision", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @property
    def target_weights(self) -> dict[str, float]:
        """Targets in order, each with its weight in the loss."""
        if isinstance(self.targets, str):
            return {self.targets: 1.0}
        if isinstance(self.targets, list):
            return dict.fromkeys(self.targets, 1.0)
        return dict(self.targets)

    def document(self) -> dict[str, Any]:
        """As JSON types; :meth:`model_validate` takes it back."""
        return self.model_dump(mode="json")

    def sha256(self) -> str:
        """Names the work, whatever the result is called."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()

    def check(self) -> None:
        """Refuse values that are each fine but not together.

        Raises:
            ConfigError: names the key.
        """
        if self.freeze_trunk and self.init_from is None:
            raise ConfigError(
                "freeze_trunk: there is no trunk to freeze without init_from.",
                hint="Name the model to start from in init_from.",
            )
        unknown = sorted(set(self.log_targets) - set(self.target_weights))
        if unknown:
            raise ConfigError(
                f"log_targets: {unknown[0]!r} is no target of this run.",
                hint=f"Targets: {', '.join(self.target_weights)}.",
            )
        if self.n_processes > self.batch_size:
            raise ConfigError(
                f"n_processes: {self.n_processes} processes cannot share a batch of "
                f"{self.batch_size}.",
                hint="Raise batch_size.",
            )
        if self.precision == "16" and not (self.device or "cuda").startswith("cuda"):
            raise ConfigError("precision: 16 needs a GPU.", hint="Use bf16 or 32 on a CPU.")
        if self.model == "RandomForest" and (self.init_from or self.n_processes > 1):
            raise ConfigError(
                "init_from and n_processes are for networks, not for a RandomForest.",
                hint="Leave them out.",
            )


def parse_training_config(document: Any, *, source: str = "The configuration") -> TrainingConfig:
    """Check a document.

    Args:
        document: Keys and values.
        source: Where it stands, for the errors.

    Raises:
        ConfigError: one line for each problem, each naming its key.
    """
    if not isinstance(document, dict):
        raise ConfigError(
            f"{source} is not a training configuration: expected keys and values.",
            hint="Start from examples/ or docs/training.md.",
        )
    try:
        config = TrainingConfig.model_validate(document)
    except ValidationError as error:
        lines, hints = [], []
        for key, problem in _problems(error):
            lines.append(f"{source}: {key}: {problem}.")
            near = difflib.get_close_matches(key, TrainingConfig.model_fields, n=1)
            if "not permitted" in problem and near:
                hints.append(f"Did you mean {near[0]!r}?")
        raise ConfigError(
            "\n".join(lines), hint=" ".join(hints) or None, details={"problems": lines}
        ) from error
    config.check()
    return config


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    """Key and sentence, one for each key: a union complains once for each of its members."""
    found: dict[str, str] = {}
    for problem in error.errors():
        found.setdefault(str(problem["loc"][0]), str(problem["msg"]))
    for key in found.keys() & {"target", "targets"}:
        if found[key] != "Field required":
            found[key] = "expected a name, a list of names, or names with positive weights"
    return list(found.items())


def load_training_config(path: Path) -> TrainingConfig:
    """Read a configuration (YAML); a relative path in it is taken from the file's folder.

    Raises:
        NotFoundError: no such file.
        ConfigError: it cannot be used; names the key.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is too large for a training configuration.")
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no file {path}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}.") from error
    config = parse_training_config(document, source=str(path))
    absolute = {
        key: str(found.resolve())
        for key, value in (("dataset", config.dataset), ("init_from", config.init_from))
        if value and (found := existing_path(value, beside=path.absolute().parent))
    }
    return config.model_copy(update=absolute)
