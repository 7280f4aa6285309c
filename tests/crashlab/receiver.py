"""A caller's server as the webhook function sees it: its calls are numbered and fail as AWS's do.

What the real client makes of real servers is tests/integration/test_webhooks.py's to show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tessera import ids, outbound
from tessera.settings import MINUTES, SECONDS
from tessera.webhooks import RETRY_AFTER

from tests.crashlab.invariants import Row, require
from tests.crashlab.simulation import Simulation

URL = "https://me:you@receiver.example/hook"


@dataclass(frozen=True)
class Told:
    """`task`: its number; `id`: of the webhook."""

    at: int
    task: int
    id: str
    status: int


class Receiver:
    """Answers with `answers` one after the other, and the last of them from then on."""

    def __init__(self, simulation: Simulation, patch: pytest.MonkeyPatch, answers: tuple[int, ...]) -> None:
        self.simulation = simulation
        self.answers = answers
        self.told: list[Told] = []
        stand_in = SimpleNamespace(client=self._client, Forbidden=outbound.Forbidden, UnknownHost=outbound.UnknownHost)
        patch.setattr("deliver_webhook.post.outbound", stand_in)

    @contextmanager
    def _client(self, *settings: Any) -> Iterator[Any]:
        yield SimpleNamespace(stream=self._stream)

    def _stream(self, method: str, url: str, headers: Mapping[str, str], content: bytes, auth: Any) -> Any:
        def take() -> int:
            status = self.answers[min(len(self.told), len(self.answers) - 1)]
            task = ids.from_uuid(json.loads(content)["data"]["taskId"])
            assert task is not None and url == URL.replace("me:you@", "")
            self.told.append(Told(self.simulation.world.clock.ms, task, headers["webhook-id"], status))
            return status

        def refusal() -> Exception:
            return httpx.ConnectError("injected")

        def silence() -> Exception:
            return httpx.ReadTimeout("injected")

        status = self.simulation.recorder.make("Post", {}, take, refusal, silence)
        return _answer(status)

    def check(self, table: list[Row], faults: int, delay: int) -> None:
        """G31, at rest."""
        for task in (row for row in table if row["sk"] == "TASK"):
            mine = [told for told in self.told if told.task == task["id"]]
            if "hook" not in task:
                require("G31", not mine, "a task without a webhook was told")
                continue
            accepted = [told for told in mine if 200 <= told.status < 300]
            hooks = [row for row in table if row["pk"] == task["pk"] and row["sk"] == "HOOK"]
            require("G31", len(hooks) == 1, f"{len(hooks)} outbox rows")
            require("G31", hooks[0]["state"] == "delivered", f"a webhook is {hooks[0]['state']}")
            require("G31", bool(accepted), "a webhook is delivered that nobody has accepted")
            require("G31", len({told.id for told in mine}) == 1, "one webhook, two ids")
            require("G31", faults > 0 or len(accepted) == 1, f"{len(accepted)} times accepted without a fault")
            self._in_time(accepted[0].at, table, task, faults, delay)

    def _in_time(self, at: int, table: list[Row], task: Row, faults: int, delay: int) -> None:
        failures = sum(status >= 300 for status in self.answers)
        if failures > len(RETRY_AFTER):
            return  # an operator's hand brought it back
        ended = max(row["ended"] for row in table if row["pk"] == task["pk"] and row["sk"].startswith("FILE#"))
        late = at - ended - delay * SECONDS - sum(RETRY_AFTER[:failures])
        require("G31", late <= (2 + 5 * faults) * MINUTES, f"a webhook was {late / SECONDS:.0f} s late")


@contextmanager
def _answer(status: int) -> Iterator[Any]:
    yield SimpleNamespace(status_code=status, iter_raw=lambda: iter((b"",)))
