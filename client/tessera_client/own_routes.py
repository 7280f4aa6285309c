"""Tessera's own routes, one method each. Another server of Upscayl's API answers NotFound to all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tessera_client.http import Http
from tessera_client.models import Envelope
from tessera_client.own_models import (
    Account,
    CancelledTask,
    DeletedTask,
    Estimate,
    Nothing,
    Offers,
    SignedParts,
    StoredParts,
)


class OwnRoutes:
    _http: Http

    def account(self) -> Account:
        return self._http.call("v1/account", Envelope[Account], method="GET", repeatable=True).data

    def models(self) -> Offers:
        """Models, formats and operations, and which of them this server has."""
        return self._http.call("v1/models", Envelope[Offers], method="GET", repeatable=True).data

    def estimate(
        self,
        sizes: Iterable[tuple[int, int]],
        *,
        model: str | None = None,
        scale: int | None = None,
        width: int | None = None,
        height: int | None = None,
        save_as: str = "png",
    ) -> Estimate:
        """What pictures of these sizes (pixels) would become, cost and take."""
        wanted = {"model": model, "scale": scale, "width": width, "height": height, "saveImageAs": save_as}
        body = {name: value for name, value in wanted.items() if value is not None}
        files = [{"width": across, "height": down} for across, down in sizes]
        return self._http.call("v1/estimate", Envelope[Estimate], repeatable=True, json={"files": files, **body}).data

    def cancel_task(self, task_id: str) -> CancelledTask:
        """End what is open of a task; it is paid back. A task that has ended stays as it is."""
        body = {"taskId": task_id}
        return self._http.call("v1/tasks/cancel", Envelope[CancelledTask], repeatable=True, json=body).data

    def delete_task(self, task_id: str) -> DeletedTask:
        """Delete results, previews and uploads of a task, which stays in the history."""
        body = {"taskId": task_id}
        return self._http.call("v1/tasks/delete", Envelope[DeletedTask], repeatable=True, json=body).data

    def sign_parts(self, upload_id: str, key: str, numbers: Sequence[int]) -> SignedParts:
        """Fresh links for parts of an upload, at most 100 at a time."""
        body = {"uploadId": upload_id, "key": key, "partNumbers": list(numbers)}
        return self._http.call("v1/uploads/parts", Envelope[SignedParts], repeatable=True, json=body).data

    def list_parts(self, upload_id: str, key: str) -> StoredParts:
        """Which parts of an upload storage has."""
        body = {"uploadId": upload_id, "key": key}
        return self._http.call("v1/uploads/parts/list", Envelope[StoredParts], repeatable=True, json=body).data

    def abort_upload(self, upload_id: str, key: str) -> None:
        """Give an upload in parts up."""
        body = {"uploadId": upload_id, "key": key}
        self._http.call("v1/uploads/abort", Envelope[Nothing], repeatable=True, json=body)
