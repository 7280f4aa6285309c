"""The environment, read once at the edge into a type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

SECONDS = 1000  # ms
MINUTES = 60 * SECONDS
HOURS = 60 * MINUTES
DAYS = 24 * HOURS
MEGA = 1_000_000

PREFIX = "TESSERA_"

HOURLY_LIMITS: dict[str, dict[str, int]] = {
    # Upscayl's x-rateLimit values, and the same kinds a hundred times as high: real clients poll a status up to
    # twice a second, which the documented 100 an hour would cut off within a task or two, so there it is not counted.
    "strict": {"upload": 100, "history": 100, "status": 100, "start": 50, "complete": 50, "change": 100},
    "default": {"upload": 10_000, "history": 10_000, "start": 5_000, "complete": 5_000, "change": 10_000},
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

    def hourly_limit(self, kind: str) -> int | None:
        """Calls per key and clock hour, or None where they are not counted."""
        return HOURLY_LIMITS[self.limit_profile].get(kind)
