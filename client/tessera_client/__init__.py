"""Tessera's client: upscale pictures on a server that speaks Upscayl Cloud's HTTP API."""

from tessera_client.client import Client, Upscaled
from tessera_client.errors import (
    ApiError,
    BadRequest,
    Cancelled,
    InsufficientCredits,
    NotFound,
    RateLimited,
    ServerError,
    TaskFailed,
    TesseraError,
    TransferError,
    Unauthorized,
    Unreachable,
    UnsupportedFile,
    WaitTimeout,
)
from tessera_client.models import (
    HistoryPage,
    PastTask,
    ProcessedFile,
    StartedTask,
    TaskStatus,
    UploadedFile,
    UploadTicket,
)
from tessera_client.own_models import Account, CancelledTask, DeletedTask, Estimate, Model, Offers
from tessera_client.progress import Progress
from tessera_client.version import VERSION

__all__ = [
    "VERSION",
    "Account",
    "ApiError",
    "BadRequest",
    "Cancelled",
    "CancelledTask",
    "Client",
    "DeletedTask",
    "Estimate",
    "HistoryPage",
    "InsufficientCredits",
    "Model",
    "NotFound",
    "Offers",
    "PastTask",
    "ProcessedFile",
    "Progress",
    "RateLimited",
    "ServerError",
    "StartedTask",
    "TaskFailed",
    "TaskStatus",
    "TesseraError",
    "TransferError",
    "Unauthorized",
    "Unreachable",
    "UnsupportedFile",
    "UploadTicket",
    "UploadedFile",
    "Upscaled",
    "WaitTimeout",
]
