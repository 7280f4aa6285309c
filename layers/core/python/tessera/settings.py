"""The environment, read once at the edge into a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

SECONDS = 1000  # ms
MINUTES = 60 * SECONDS
HOURS = 60 * MINUTES
DAYS = 24 * HOURS
MEGA = 1_000_000

PREFIX = "TESSERA_"


class Limit(NamedTuple):
    """So many calls in each interval of so many milliseconds; intervals begin with the Unix epoch."""

    calls: int
    interval_ms: int


# By profile and kind of call. Those of an hour: as documented by the first service spoken here, and a hundred times as
# high, since real clients poll a status up to twice a second, which the documented 100 an hour would cut off within a
# task or two; so there it is not counted, nor is `poll`, another service's word for the same. `quarter` and `minute`:
# every call of an API that counts so. 60 and 600 are ours.
LIMITS: dict[str, dict[str, Limit]] = {
    "strict": {
        "upload": Limit(100, HOURS),
        "history": Limit(100, HOURS),
        "status": Limit(100, HOURS),
        "start": Limit(50, HOURS),
        "complete": Limit(50, HOURS),
        "change": Limit(100, HOURS),
        "quarter": Limit(100_000, 15 * MINUTES),
        "minute": Limit(60, MINUTES),
        "poll": Limit(60, MINUTES),
    },
    "default": {
        "upload": Limit(10_000, HOURS),
        "history": Limit(10_000, HOURS),
        "start": Limit(5_000, HOURS),
        "complete": Limit(5_000, HOURS),
        "change": Limit(10_000, HOURS),
        "quarter": Limit(100_000, 15 * MINUTES),
        "minute": Limit(600, MINUTES),
    },
}


class Settings(BaseModel):
    """All that a function knows about where it runs. Times in milliseconds are the properties ending in `_ms`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    table: str
    bucket: str
    work_queue_url: str
    job_queue_url: str = ""
    fetch_queue_url: str = ""
    hook_queue_url: str = ""
    worker: Literal["cpu", "modal"] = "cpu"
    stand_in: Literal["allow", "refuse"] = "allow"
    engine: str = ""
    """Names the worker's code, weights and packages; another name means other results. Without one none is reused."""
    networks: Literal["shipped", "public"] = "shipped"
    """Which the worker has: those that come with the engine, or the public ones beside them."""
    faces: Literal["none", "installed"] = "none"
    """Whether the worker has a face model: its operator says so, since its licence is not for everybody."""
    reuse: bool = True
    modal_secret: str = ""
    worker_price: float = 0
    """USD a second that the worker's machine costs by its provider's list; for an estimate only."""
    link_domain: str = ""
    """Of the CloudFront distribution for results, whose links the key in `link_secret` signs; without one S3 does."""
    link_key_id: str = ""
    link_secret: str = ""
    allowed_addresses: str = ""
    """Networks that callers' URLs may lead to although they are not public: "10.1.0.0/16, 127.0.0.1:8123"."""
    upload_ttl_seconds: int = 3600
    result_retention_seconds: int = 86_400
    history_retention_days: int = 90
    task_deadline_seconds: int = 1800
    lease_seconds: int = 300
    limit_profile: Literal["default", "strict"] = "default"
    allow_http: bool = False
    """Takes calls over plain HTTP where an API refuses them: behind a proxy that ends TLS and says so differently."""
    max_input_megapixels: float = 64
    max_output_megapixels: float = 144
    part_threshold_bytes: int = 32 * 1024 * 1024
    worker_megapixels_per_second: float = 0
    """What one worker takes in, enlarging by 4 with its usual model: for estimates. 0: nobody has measured it."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        return cls.model_validate(
            {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
        )

    @property
    def upload_ttl_ms(self) -> int:
        return self.upload_ttl_seconds * SECONDS

    @property
    def upload_hold_ms(self) -> int:
        """How long an upload is kept from the start of a task that uses it: always longer than the task can last."""
        return max(self.upload_ttl_ms, self.task_deadline_ms + 10 * MINUTES)

    @property
    def result_retention_ms(self) -> int:
        return self.result_retention_seconds * SECONDS

    @property
    def history_retention_ms(self) -> int:
        return self.history_retention_days * DAYS

    @property
    def task_deadline_ms(self) -> int:
        return self.task_deadline_seconds * SECONDS

    @property
    def lease_ms(self) -> int:
        return self.lease_seconds * SECONDS

    @property
    def look_ms(self) -> int:
        """How often the watchdog looks at a file that is not finished: each minute, which is how often it runs."""
        return min(MINUTES, self.lease_ms)

    @property
    def max_input_pixels(self) -> int:
        return int(self.max_input_megapixels * MEGA)

    @property
    def max_output_pixels(self) -> int:
        return int(self.max_output_megapixels * MEGA)

    def limit(self, kind: str) -> Limit | None:
        """On calls of one key, or None where they are not counted."""
        return LIMITS[self.limit_profile].get(kind)
