"""The flows, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.crashlab import gpu
from tests.crashlab.client import (
    Ask,
    AskOfWebhooks,
    Break,
    Budget,
    Cancel,
    CompleteUnknown,
    Delete,
    Look,
    Multipart,
    Operate,
    Overwrite,
    PageForm,
    PageParts,
    PartByPart,
    Pause,
    Redrive,
    Replay,
    Start,
    StartByUrl,
    StartForm,
    Step,
    Upload,
)
from tests.crashlab.pictures import LONG, LONG_SOURCE, NO_PICTURE, PHOTO, TIFF

Script = tuple[tuple[float, str], ...]  # (seconds after the job was taken, what the worker writes)

WORKS: Script = ((1, "report"), (5, "result"))
DIES: Script = ((660, "dead"),)
SLOW: Script = ((385, "result!"),)  # no word within the lease
HICCUP: Script = ((2, "internal"),)
CORRUPT: Script = ((2, "corrupt_image"),)
STEADY: Script = ((200, "report"), (400, "report"), (560, "result"))
ENDLESS: Script = (*((240.0 * n, "report") for n in range(1, 4)), (1300, "result!"))  # not within a deadline of 900
TOO_LATE = Start(uploads=(1,), status=400)
EVENTS = {"UploadEventQueue": 99, "ResultEventQueue": 99}
LONG_AFTER = 400  # whatever failed, what takes seconds is done by then
QUARTER = {"task_deadline_seconds": 900}
REPEAT = (Upload(), Pause(5), Start(), Pause(60), Upload(), Pause(5), Start(uploads=(1,)), Pause(4), Ask())
ENGINE = {"engine": "layer:1"}  # without a name for it nothing is reused
CLOUDFRONT = {"link_domain": "d111.cloudfront.net", "link_key_id": "K1", "link_secret": "tessera/links"}


@dataclass(frozen=True, eq=False)
class Flow:
    """`worker`: scripts of attempts 1, 2, ...; `broken`: files of every task for which it is `other` instead.
    `ends`: the states in which the files of each task end."""

    name: str
    steps: tuple[Step, ...]
    ends: tuple[str, ...] = ("done",)
    worker: tuple[Script, ...] = (WORKS,)
    broken: frozenset[int] = frozenset()
    other: Script = CORRUPT
    credits: int = 5
    settings: Mapping[str, object] = field(default_factory=dict)
    copies: int = 1
    lose: Mapping[str, int] = field(default_factory=dict)  # queue -> messages lost, the first ones
    answers: tuple[gpu.Answer, ...] = ()  # of Modal to the first hand-overs, where it does not simply take them
    runs: int | None = None  # jobs that workers take where nothing fails
    starts: int = 1  # tasks where nothing fails
    receiver: tuple[int, ...] = (200,)  # what a caller's server answers to webhooks, the last from then on
    delay: int = 0  # of webhooks, seconds
    once: bool = False  # every start has an Idempotency-Key: never more tasks than that


FLOWS = (
    Flow("happy", (Upload(), Pause(5), Start(), Pause(4), Ask())),
    Flow("start before the upload's event", (Upload(event_after=20), Start(), Ask())),
    Flow(
        "two files, one is no picture",
        (Upload(), Upload(NO_PICTURE), Pause(5), Start(), Ask()),
        ends=("done", "failed"),
    ),
    Flow(
        "two files, one is no picture, started before the events",
        (Upload(event_after=20), Upload(NO_PICTURE, event_after=1), Start()),
        ends=("done", "failed"),
    ),
    Flow(
        "two files, one turns out damaged",
        (Upload(), Upload(), Pause(5), Start()),
        ends=("done", "failed"),
        broken=frozenset({1}),
    ),
    Flow("multipart, completed twice", (Multipart(completes=2, once="m"), CompleteUnknown(), Pause(5), Start())),
    Flow("multipart, abandoned", (Multipart(completes=0), Upload(), Pause(5), Start())),
    Flow("a file in a form, sent twice", (StartForm(once="f", times=2), Ask()), once=True),
    Flow("a file in a form", (StartForm(),)),
    Flow("the worker never answers", (Upload(), Pause(5), Start()), ends=("failed",), worker=(DIES,)),
    Flow("the worker dies once", (Upload(), Pause(5), Start()), worker=(DIES, WORKS)),
    Flow("the worker writes garbage once", (Upload(), Pause(5), Start()), worker=(((5, "garbage"),), WORKS)),
    Flow("the worker hiccups once", (Upload(), Pause(5), Start()), worker=(HICCUP, WORKS)),
    Flow(
        "a zombie's result after the retry",
        (Upload(), Pause(5), Start()),
        worker=(((700, "result!"),), STEADY),
        runs=2,
    ),
    Flow(
        "a zombie's failure after the retry",
        (Upload(), Pause(5), Start()),
        worker=(((700, "corrupt_image!"),), STEADY),
    ),
    Flow(
        "a zombie's result after the refund",
        (Upload(), Pause(5), Start()),
        ends=("failed",),
        worker=(ENDLESS,),
        settings=QUARTER,
    ),
    Flow(
        "every message three times, shuffled",
        (Upload(), Upload(event_after=20), Pause(5), Start(), Ask()),
        ends=("done", "done"),
        copies=3,
    ),
    Flow("all events of S3 lost", (Upload(), Start(), Ask()), lose=EVENTS),
    Flow(
        "all events of S3 lost, a failure among them",
        (Upload(), Upload(), Start()),
        ends=("done", "failed"),
        broken=frozenset({1}),
        lose=EVENTS,
    ),
    Flow("the work message lost", (Upload(), Pause(5), Start()), lose={"WorkQueue": 1}),
    Flow("no credit", (Upload(), Pause(5), Start(status=402), Ask()), ends=(), credits=0, starts=0),
    Flow("no credit, started before the event", (Upload(event_after=9), Start(status=402)), (), credits=0, starts=0),
    Flow("credit for one of two starts", (Upload(), Pause(5), Start(once="a"), Start(once="b", status=402)), credits=1),
    Flow(
        "the upload expires while it is processed",
        (Upload(), Upload(), Pause(100), Start(uploads=(0,)), Pause(30), TOO_LATE, Pause(400), TOO_LATE),
        worker=(((60, "report"), (250, "report"), (400, "result")),),
        settings={"upload_ttl_seconds": 120, "result_retention_seconds": 600},
    ),
    Flow(
        "a start repeated with its key",
        (Upload(once="u"), Pause(5), Start(once="s", times=3), Pause(20), Start(once="s")),
        once=True,
    ),
    Flow(
        "overwritten after the start",
        (Upload(), Pause(5), Start(), Overwrite(), Pause(30)),
        ends=("failed",),
    ),
    Flow(
        "overwritten after the start, its event before the work",
        (Upload(), Pause(5), Start(), Overwrite(), Pause(30)),
        ends=("failed",),
        lose={"WorkQueue": 1},
    ),
    Flow("headers longer than one read", (Upload(LONG), Pause(5), Start()), worker=(((5, "jpeg"),),)),
    Flow("an operator looks on", (Upload(), Pause(5), Start(), Pause(2), Look(), Pause(10), Look())),
    Flow("an upload that nobody uses, its event lost", (Upload(),), ends=(), starts=0, lose=EVENTS),
    Flow(
        "the worker hiccups once and says so three times",
        (Upload(), Pause(5), Start()),
        worker=(HICCUP, WORKS),
        copies=3,
    ),
    Flow(
        "a hiccup told three times, its file not sent again meanwhile",
        (Upload(), Pause(5), Start(), Pause(1), Break(("WorkQueue",)), Pause(100), Break()),
        worker=(HICCUP, WORKS),
        copies=3,
    ),
    Flow("an operator's day", (Operate(),), ends=(), starts=0),
    Flow("a repeat is answered from storage", REPEAT, settings=ENGINE, starts=2, runs=1),
    Flow("a repeat, all events of S3 lost", REPEAT, settings=ENGINE, starts=2, runs=1, lose=EVENTS),
    Flow(
        "a repeat while the first is at work",
        (Upload(), Upload(), Pause(5), Start(uploads=(0,)), Pause(2), Start(uploads=(1,)), Ask()),
        settings=ENGINE,
        starts=2,
        runs=2,
    ),
    Flow(
        "messages given up, healed, and brought back twice",
        (
            *(Break(("UploadEventQueue", "ResultEventQueue")), Upload(), Start(), Pause(950)),
            *(Break(("WorkQueue",)), Upload(), Start(uploads=(1,)), Pause(950)),
            *(Break(), Pause(120), Redrive(), Ask()),
        ),
        starts=2,
        runs=2,
    ),
    Flow("a picture by its URL", (StartByUrl(times=2), Pause(5), Ask()), once=True, runs=1),
    Flow("a picture by its URL, its server fails once", (StartByUrl((503, PHOTO)), Ask()), once=True, runs=1),
    Flow("a picture by its URL, in parts, cut off once", (StartByUrl((LONG_SOURCE,) * 2),), once=True, runs=1),
    Flow("a picture by its URL, never there", (StartByUrl((503,)), Ask()), ends=("failed",), once=True, runs=0),
    Flow("a picture by its URL, not found", (StartByUrl((404,)),), ends=("failed",), once=True, runs=0),
    Flow("a picture by its URL, no picture", (StartByUrl((NO_PICTURE,)),), ends=("failed",), once=True, runs=0),
    Flow("a picture by its URL, all events of S3 lost", (StartByUrl(), Ask()), once=True, runs=1, lose=EVENTS),
    Flow("a TIFF by its URL", (StartByUrl((TIFF,), formats=("jpeg", "tiff")),), once=True, runs=1),
    Flow("a TIFF by its URL, not taken", (StartByUrl((TIFF,)),), ends=("failed",), once=True, runs=0),
    Flow(
        "a picture by its URL, deleted while it comes",
        (StartByUrl(deleted=True), Pause(60), Ask()),
        ends=("cancelled",),
        once=True,
        runs=0,
    ),
    Flow(
        "a picture by its URL, deleted while it waits",
        (StartByUrl((503, PHOTO)), Pause(5), Delete(times=2), Pause(90), Ask()),
        ends=("cancelled",),
        once=True,
        runs=0,
    ),
    Flow("parts signed again and listed", (PartByPart(), Pause(5), Start())),
    Flow("a page's form", (PageForm(), Pause(5), Start(), Ask())),
    Flow("a page's parts", (PageParts(), Pause(5), Start())),
    Flow("a page's parts, given up twice", (PageParts(aborts=2),), ends=(), starts=0),
    Flow("a page's parts, too many bytes", (PageParts(max_bytes=10),), ends=(), starts=0),
    Flow("parts given up, twice", (PartByPart(aborts=2),), ends=(), starts=0),
    Flow(
        "cancelled while it waits",
        (Upload(event_after=30), Start(once="s"), Cancel(times=2), Pause(60), Ask()),
        ends=("cancelled",),
        runs=0,
        once=True,
    ),
    Flow(
        "cancelled while the worker is at it",
        (Upload(), Pause(5), Start(once="s"), Pause(2), Cancel(), Pause(1), Look(), Pause(60), Cancel(), Ask()),
        ends=("cancelled",),
        runs=1,
        once=True,
    ),
    Flow(
        "cancelled after one of two results",
        (Upload(), Upload(), Pause(5), Start(once="s"), Pause(LONG_AFTER), Cancel(times=2), Ask()),
        ends=("done", "cancelled"),
        broken=frozenset({1}),
        other=STEADY,
        runs=2,
        once=True,
    ),
    Flow(
        "cancelled after the result",
        (Upload(), Pause(5), Start(once="s"), Pause(LONG_AFTER), Cancel(), Ask()),
        once=True,
    ),
    Flow(
        "deleted after the result",
        (Upload(), Pause(5), Start(once="s"), Pause(LONG_AFTER), Delete(times=2), Ask()),
        once=True,
    ),
    Flow(
        "deleted while the worker is at it",
        (Upload(), Pause(5), Start(once="s"), Pause(2), Delete(), Pause(60), Delete(), Ask()),
        ends=("cancelled",),
        runs=1,
        once=True,
    ),
    Flow(
        "two tasks of one upload, deleted one after the other",
        (Upload(), Pause(5), Start(), Start(), Pause(LONG_AFTER), Delete(n=0), Ask(), Delete(n=1), Ask()),
        starts=2,
    ),
    Flow(
        "a GPU, cancelled while it is at it",
        (Upload(), Pause(5), Start(once="s"), Pause(2), Cancel(), Pause(90), Ask()),
        ends=("cancelled",),
        settings=gpu.SETTINGS,
        runs=1,
        once=True,
    ),
    Flow(
        "a GPU, cancelled while the job is handed over",
        (Upload(), Pause(5), Start(once="s"), Pause(90), Ask()),
        ends=("cancelled",),
        settings=gpu.SETTINGS,
        answers=("cancelled",),
        once=True,
    ),
    Flow("a webhook", (Upload(), Pause(5), Start(delay=0), Pause(LONG_AFTER), AskOfWebhooks())),
    Flow(
        "a webhook whose receiver fails once",
        (Upload(), Pause(5), AskOfWebhooks(), Start(delay=0), Pause(LONG_AFTER), AskOfWebhooks()),
        receiver=(500, 200),
    ),
    Flow("a webhook, its message lost", (Upload(), Pause(5), Start(delay=0)), lose={"HookQueue": 1}),
    Flow("a webhook after a day", (Upload(), Pause(5), Start(delay=86_400)), delay=86_400),
    Flow(
        "a webhook, every message three times, shuffled",
        (Upload(), Upload(event_after=20), Upload(), Pause(5), Start(delay=0)),
        ends=("done", "done", "failed"),
        broken=frozenset({2}),
        receiver=(503, 200),
        copies=3,
    ),
    Flow(
        "a webhook of a task that is cancelled",
        (Upload(event_after=30), Upload(), Start(once="s", delay=1), Cancel(times=2)),
        ends=("cancelled", "cancelled"),
        delay=1,
        once=True,
    ),
    Flow(
        "a webhook of a task whose files are all refused",
        (Upload(NO_PICTURE), Upload(NO_PICTURE), Pause(5), Start(delay=0)),
        ends=("failed", "failed"),
    ),
    Flow(
        "a webhook that is given up, and told again by the operator",
        (Upload(), Pause(5), Start(delay=0), Pause(2400), Replay(), Pause(LONG_AFTER), Look()),
        receiver=(500, 302, 404, 500, 200),
    ),
    Flow("links by CloudFront", (Upload(), Pause(5), Start(), Pause(LONG_AFTER), Ask()), settings=CLOUDFRONT),
    Flow("a GPU", (Upload(), Pause(5), Start(), Pause(4), Ask()), settings=gpu.SETTINGS, runs=1),
    Flow(
        "a GPU, paused, then beyond the day's cap",
        (
            *(Upload(), Upload(), Budget(paused=True), Pause(5), Start(), Pause(70)),
            *(Budget(paused=False, cap=1), Pause(130), Budget(cap=5), Pause(60), Ask()),
        ),
        ends=("done", "done"),
        settings=gpu.SETTINGS,
        runs=2,
    ),
    Flow(
        "a GPU turns the first job away, then says nothing",
        (Upload(), Pause(5), Start(), Pause(300)),
        settings=gpu.SETTINGS,
        answers=("error", "unsent"),
        runs=1,
    ),
    Flow(
        "a GPU took the job and said nothing",
        (Upload(), Pause(5), Start(), Pause(10)),
        settings=gpu.SETTINGS,
        answers=("lost",),
        runs=1,
    ),
    Flow(
        "a GPU is lost once",
        (Upload(), Pause(5), Start()),
        worker=(((70, "dead"),), WORKS),
        settings=gpu.SETTINGS,
        runs=2,
    ),
    Flow(
        "a GPU never answers",
        (Upload(), Pause(5), Start()),
        ends=("failed",),
        worker=((),),
        settings=gpu.SETTINGS | QUARTER,
        runs=1,
    ),
    Flow("a GPU, all events of S3 lost", (Upload(), Start(), Ask()), settings=gpu.SETTINGS, lose=EVENTS, runs=1),
)
