"""What Modal's client raises, and what the dispatcher makes of it."""

from __future__ import annotations

import base64
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from modal import exception as modal_errors
from modal_proto import api_pb2
from tessera import modal_dispatch
from tessera.dispatch import LOST, NotHandedOver, NotNow, OutcomeUnknown, Refused
from tessera.job import Job, Limits, Outcome
from tessera.modal_dispatch import ModalDispatcher, Silent, Token
from tessera.recipe import Encode, Recipe, Thumbnail, Upscale

from infra.local.gpu.control import SILENCE, ControlPlane
from tests.gpu.conftest import TOKEN, ended, job_of, succeeded
from tests.world import ROOT

LINKS = ("source_url", "result_url", "thumbnail_url", "report_url", "failure_url")
ASYNC_LIMIT = 8 * 1024  # bytes: above it Modal's client puts an argument into a blob


def job(**links: str) -> Job:
    recipe = Recipe(operations=(Upscale(model="upscayl-standard-4x", scale=4), Encode(format="png"), Thumbnail()))
    urls = {name: f"https://example.com/{name}?X-Amz-Signature=0" for name in LINKS} | links
    return Job(
        task="373418", file=0, attempt=1, recipe=recipe, source_etag='"0"', not_after=2**42,
        limits=Limits(max_input_pixels=10**6, max_output_pixels=10**8), **urls,
    )  # fmt: skip


def throttled() -> GRPCError:
    """As Modal throttles: with an instruction when to come again."""
    details: list[Message] = [api_pb2.RPCRetryPolicy(retry_after_secs=30)]
    return GRPCError(Status.RESOURCE_EXHAUSTED, "too many", details)


# ---------------------------------------------------------------- spawn


def test_a_spawn_is_one_request_and_the_first_has_two_more(plane: ControlPlane, dispatcher: ModalDispatcher) -> None:
    first, second = dispatcher.spawn(job()), dispatcher.spawn(job())
    assert [first, second] == list(plane.calls)
    assert {name: len(made) for name, made in plane.requests.items()} == {
        "ClassGet": 1, "FunctionGet": 1, "FunctionMap": 2,
    }  # fmt: skip


def test_the_container_is_given_the_job(plane: ControlPlane, dispatcher: ModalDispatcher) -> None:
    call = plane.calls[dispatcher.spawn(job())]
    assert job_of(call) == job()
    assert call.input.method_name == "run"


def test_a_job_with_the_links_of_a_role_travels_in_the_request_itself(
    plane: ControlPlane, dispatcher: ModalDispatcher
) -> None:
    token = base64.b64encode(secrets.token_bytes(1050)).decode()  # as long as a function's session token becomes
    session = boto3.Session("ASIA" + "A" * 16, "k" * 40, token, region_name="eu-central-1")
    s3 = session.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": "virtual"}))
    signed = {
        name: s3.generate_presigned_url("put_object", {"Bucket": f"tessera-{'1' * 12}-eu-central-1", "Key": name * 6})
        for name in LINKS
    }
    assert sum(map(len, signed.values())) > ASYNC_LIMIT
    call = plane.calls[dispatcher.spawn(job(**signed))]
    assert len(call.input.args) < ASYNC_LIMIT / 2
    assert "BlobCreate" not in plane.requests


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (throttled(), NotNow),
        (GRPCError(Status.RESOURCE_EXHAUSTED), NotNow),
        (GRPCError(Status.ABORTED), NotNow),
        (GRPCError(Status.UNAVAILABLE), OutcomeUnknown),
        (GRPCError(Status.DEADLINE_EXCEEDED), OutcomeUnknown),
        (GRPCError(Status.INTERNAL), OutcomeUnknown),
        (GRPCError(Status.NOT_FOUND), Refused),
        (GRPCError(Status.UNAUTHENTICATED), Refused),
        (GRPCError(Status.PERMISSION_DENIED), Refused),
        (GRPCError(Status.INVALID_ARGUMENT), Refused),
        (GRPCError(Status.UNIMPLEMENTED), Refused),
    ],
    ids=lambda value: f"{value.status.name}-{bool(value.details)}" if isinstance(value, GRPCError) else value.__name__,
)
def test_each_answer_has_one_meaning(
    plane: ControlPlane, dispatcher: ModalDispatcher, answer: GRPCError, outcome: type[NotHandedOver]
) -> None:
    plane.answers["FunctionMap"] = answer
    with pytest.raises(outcome):
        dispatcher.spawn(job())
    plane.answers.clear()
    assert dispatcher.spawn(job()) in plane.calls


def test_an_app_that_is_not_deployed_is_a_refusal(plane: ControlPlane, dispatcher: ModalDispatcher) -> None:
    plane.deployed.classes.clear()
    with pytest.raises(Refused, match="NotFoundError"):
        dispatcher.spawn(job())


def test_a_bad_token_is_a_refusal(plane: ControlPlane) -> None:
    with pytest.raises(Refused, match="AuthError"):
        ModalDispatcher(lambda: Token("ak-bad", "as-bad")).spawn(job())


def test_a_token_that_was_changed_is_read_again(plane: ControlPlane) -> None:
    tokens = iter([Token("ak-old", "as-old"), TOKEN, TOKEN])
    dispatcher = ModalDispatcher(lambda: next(tokens))
    assert dispatcher.spawn(job()) in plane.calls


# ---------------------------------------------------------------- silence


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def test_a_silence_is_bounded_below_ten_seconds() -> None:
    assert modal_dispatch.GUARD < 10


def test_silence_leaves_the_outcome_unknown(plane: ControlPlane, dispatcher: ModalDispatcher, impatient: None) -> None:
    plane.answers["FunctionMap"] = SILENCE
    with pytest.raises(OutcomeUnknown):
        dispatcher.spawn(job())
    plane.answers.clear()
    assert dispatcher.spawn(job()) in plane.calls


def test_a_connection_that_says_nothing(
    deaf: socket.socket, plane: ControlPlane, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_SERVER_URL", f"http://127.0.0.1:{deaf.getsockname()[1]}")
    with pytest.raises(OutcomeUnknown):
        ModalDispatcher(lambda: TOKEN).spawn(job())


def test_nobody_at_the_address(plane: ControlPlane, dispatcher: ModalDispatcher, impatient: None) -> None:
    plane.hang_up()
    with pytest.raises(OutcomeUnknown):
        dispatcher.spawn(job())


def test_a_silence_is_waited_for_once_and_not_by_every_job(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modal_dispatch, "GUARD", 0.4)
    now = [0.0]
    dispatcher = ModalDispatcher(lambda: TOKEN, clock=lambda: now[0])
    plane.answers["FunctionMap"] = SILENCE
    with pytest.raises(OutcomeUnknown):
        dispatcher.spawn(job())
    made = len(plane.requests["FunctionMap"])
    with pytest.raises(NotNow):
        dispatcher.spawn(job())
    with pytest.raises(NotNow):
        dispatcher.ended("fc-1", began=False)
    assert len(plane.requests["FunctionMap"]) == made
    plane.answers.clear()
    now[0] += modal_dispatch.QUIET
    assert dispatcher.spawn(job()) in plane.calls


def test_a_connection_that_slept_is_not_used_again(plane: ControlPlane) -> None:
    now = [0.0]
    dispatcher = ModalDispatcher(lambda: TOKEN, clock=lambda: now[0])
    for _ in range(2):
        dispatcher.spawn(job())
    assert len(plane.requests["ClassGet"]) == 1
    now[0] += modal_dispatch.IDLE + 1
    dispatcher.spawn(job())
    assert len(plane.requests["ClassGet"]) == 2


# ---------------------------------------------------------------- what became of a call


def test_a_call_that_is_pending_may_still_give_a_result(dispatcher: ModalDispatcher, plane: ControlPlane) -> None:
    call = dispatcher.spawn(job())
    assert dispatcher.ended(call, began=False) is None
    assert dispatcher.ended(call, began=True) is None


@pytest.mark.parametrize("status", ["FAILURE", "TIMEOUT", "INTERNAL_FAILURE", "TERMINATED", "INIT_FAILURE"])
def test_a_call_that_failed_is_lost(dispatcher: ModalDispatcher, plane: ControlPlane, status: str) -> None:
    call = dispatcher.spawn(job())
    plane.calls[call].end(**ended(status))
    assert dispatcher.ended(call, began=True) == LOST


def test_a_call_that_expired_or_was_never_known_is_lost(dispatcher: ModalDispatcher) -> None:
    assert dispatcher.ended("fc-999", began=False) == LOST
    assert dispatcher.ended("", began=True) == LOST


@pytest.mark.parametrize("told", [{"status": "done"}, {"status": "failed"}, {"new": 1}, None, "text"])
def test_an_outcome_without_an_error_is_a_loss_too(dispatcher: ModalDispatcher, plane: ControlPlane, told: Any) -> None:
    """Whoever asks has looked for the result, and will look once more."""
    call = dispatcher.spawn(job())
    plane.calls[call].end(**succeeded(told))
    assert dispatcher.ended(call, began=True) == LOST


def test_the_worker_s_own_word_counts(dispatcher: ModalDispatcher, plane: ControlPlane) -> None:
    error = {"code": "link_expired", "message": "Too late", "retryable": True}
    call = dispatcher.spawn(job())
    plane.calls[call].end(**succeeded({"status": "failed", "error": error}))
    told = dispatcher.ended(call, began=True)
    assert told == Outcome.model_validate({"status": "failed", "error": error}).error


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (GRPCError(Status.UNAVAILABLE), modal_errors.ServiceError),
        (GRPCError(Status.UNAUTHENTICATED), modal_errors.AuthError),
        (GRPCError(Status.NOT_FOUND), modal_errors.NotFoundError),
        (throttled(), modal_errors.ResourceExhaustedError),
        (SILENCE, Silent),
    ],
    ids=["unavailable", "unauthenticated", "missing", "throttled", "silent"],
)
def test_where_modal_cannot_be_asked_nothing_is_concluded(
    plane: ControlPlane,
    dispatcher: ModalDispatcher,
    monkeypatch: pytest.MonkeyPatch,
    answer: Any,
    raised: type[Exception],
) -> None:
    call = dispatcher.spawn(job())
    if answer is SILENCE:
        monkeypatch.setattr(modal_dispatch, "GUARD", 0.4)
    plane.answers["FunctionGetOutputs"] = answer
    with pytest.raises(raised):
        dispatcher.ended(call, began=False)


def test_a_cancel_takes_the_container_with_it(plane: ControlPlane, dispatcher: ModalDispatcher) -> None:
    call = dispatcher.spawn(job())
    dispatcher.cancel(call)
    (request,) = plane.requests["FunctionCallCancel"]
    assert (request.function_call_id, request.terminate_containers) == (call, True)
    assert dispatcher.ended(call, began=False) == LOST


def test_a_cancel_of_a_call_that_is_gone_is_no_error(dispatcher: ModalDispatcher) -> None:
    dispatcher.cancel("fc-999")


# ---------------------------------------------------------------- who has it


def test_functions_that_hand_nothing_over_do_without_modal() -> None:
    program = (
        "import sys, upscayl.app, on_upload.app, on_result.app, cleanup.app, boto3\n"
        "from tessera.services import build\n"
        "from tessera.settings import Settings\n"
        "build(Settings(table='t', bucket='b', work_queue_url='q'), boto3.Session(region_name='eu-central-1'))\n"
        "sys.exit(any(name.split('.')[0] in ('modal', 'grpclib') for name in sys.modules))"
    )
    path = f"{ROOT}/layers/core/python:{ROOT}/functions"
    subprocess.run([sys.executable, "-c", program], env={"PYTHONPATH": path}, check=True)
