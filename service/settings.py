"""The service's settings, from the environment (see the README's table)."""

import errno
import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting, with its default for one person on one machine."""

    model_config = SettingsConfigDict(env_prefix="RULESMITH_", frozen=True, populate_by_name=True)

    home: Path = Path(".rulesmith")
    """Where the embedded database stands."""

    database_url: Annotated[str, Field(validation_alias="DATABASE_URL")] = ""
    """SQLAlchemy URL; empty means SQLite in `home`."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000

    allowed_hosts: str = "localhost,127.0.0.1,[::1]"
    """Host headers that are answered, separated by commas."""

    ray_address: Annotated[str, Field(validation_alias="RAY_ADDRESS")] = ""
    """An existing cluster's address; empty starts a local Ray."""

    cpus: Annotated[int, Field(ge=1)] | None = None
    """CPUs of the local Ray; None takes all of the machine's."""

    concurrent_jobs: Annotated[int, Field(ge=1, le=64)] = 4
    """Jobs that run side by side."""

    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a claimed job stays with a silent dispatcher."""

    @field_validator("database_url")
    @classmethod
    def _driver(cls, url: str) -> str:
        # psycopg 3 is what is installed; a bare postgresql:// would ask for psycopg2.
        for prefix in ("postgres://", "postgresql://"):
            if url.startswith(prefix):
                return "postgresql+psycopg://" + url.removeprefix(prefix)
        return url

    def store_url(self) -> str:
        """Return the SQLAlchemy URL in force, creating `home` for the embedded database.

        Raises:
            OSError: `home` is no folder that can be written.
        """
        if self.database_url:
            return self.database_url
        try:
            self.home.mkdir(parents=True, exist_ok=True)
            if not os.access(self.home, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise OSError(
                f"the service's folder {self.home} cannot be used ({error.strerror}); give one "
                "that can be made and written with --home or RULESMITH_HOME"
            ) from error
        return f"sqlite:///{(self.home / 'rulesmith.db').resolve()}"
