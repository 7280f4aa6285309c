"""`Stack`: the whole service on this machine, as a context manager.

    with Stack(state_dir=Path("var")) as stack:
        httpx.post(f"{stack.api_url}/get-upload-url", headers={"X-API-Key": stack.api_key}, json=...)

Guarantees: everything listens on 127.0.0.1; what was acknowledged is there after the next start with the same
`state_dir` (after a crash, all but the last seconds); leaving the block ends every process and thread it started.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

import boto3
from botocore.config import Config

from .deployment import Deployment
from .gateway import MAX_BODY, Gateway
from .guard import ACCOUNT, Guard
from .page import FOLDER, Page
from .pollers import Poller
from .resources import Clients, deploy
from .runtime import Result, Runtime
from .schedules import Ticker
from .server import Answer, Request, Server
from .sigv4 import Keys
from .state import Identity, State
from .template import Template, TemplateError

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
REGION = "us-east-1"
DEFAULTS = {"BucketName": "tessera-local"}  # parameters that have no default in the cloud
GRACE_SECONDS = 3.0  # for what is under way when the stack is told to end; then it is left for the next start
RETRY_SECONDS = 10
MOST_HOPS = 10_000
CONCURRENT_REQUESTS = 64
CREDITS = 1_000_000

Account = Callable[[Mapping[str, str], str | None], str]


@dataclass(frozen=True)
class Hop:
    """One step of a request's way: when it ended, in Unix milliseconds, and what it was."""

    at_ms: float
    what: str


class Stack:
    def __init__(
        self,
        template: Path = TEMPLATE,
        state_dir: Path | None = None,
        port: int = 0,
        parameters: Mapping[str, str] | None = None,
        api_key: str | None = None,
        *,
        account: Account | None = None,
        retry_seconds: int = RETRY_SECONDS,
        limits: Mapping[str, int] | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`port` 0 takes a free one; without `state_dir` nothing outlives the stack; `account` makes the API key from
        the functions' environment and a wished key (default: `infra.admin`); `limits` bounds a function's processes;
        `variables` are added to every function's environment."""
        self._template_path = template
        self._state_dir = state_dir
        self._port = port
        self._parameters = dict(parameters or {})
        self._wished_key = api_key
        self._account = account or _admin_account
        self._retry_seconds = retry_seconds
        self._limits = limits
        self._variables = dict(variables or {})
        self._hops: deque[Hop] = deque(maxlen=MOST_HOPS)
        self._cleanup = ExitStack()
        self._restored = False
        self.api_url = self.storage_url = self.api_key = ""
        self.outputs: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.deployment = Deployment()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    # ------------------------------------------------------------------ for tests and commands

    @property
    def bucket(self) -> str:
        return self.deployment.buckets[0]

    @property
    def page_url(self) -> str:
        """The browser's page, with the key, which the page takes out of the address."""
        return f"{self.api_url}/#key={quote(self.api_key, safe='')}"

    @property
    def table(self) -> str:
        return self.deployment.tables[0]

    @property
    def logs(self) -> Path:
        """A file for each function: what it printed."""
        return self._folder / "log"

    def client(self, service: str) -> Any:
        """A boto3 client of this stack."""
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.storage_url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
            config=Config(signature_version="s3v4" if service == "s3" else None, proxies={}, max_pool_connections=50),
        )

    def invoke(self, name: str, event: Any) -> Any:
        """The function's answer; raises `FunctionError` if it failed."""
        result = self._invoke(name, json.dumps(event).encode())
        answer = json.loads(result.payload)
        if result.error is not None:
            raise FunctionError(answer)
        return answer

    def kill(self, name: str) -> int:
        """SIGKILL to the function's processes; how many there were."""
        return self._runtime.kill(name)

    def running(self, name: str) -> int:
        """How many events the function is working on."""
        return self._runtime.running(name)

    def pause(self, name: str) -> None:
        """Nothing more is fed to the function; `name` is its logical name or that of the mapping or schedule."""
        for feeder in self._feeders(name):
            feeder.pause()

    def resume(self, name: str) -> None:
        for feeder in self._feeders(name):
            feeder.resume()

    def hops(self) -> list[Hop]:
        return list(self._hops)

    def save(self) -> None:
        self._state.save(self._guard, self.deployment)

    # ------------------------------------------------------------------ start and end

    def _start(self) -> None:
        folder = self._state_dir or Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="tessera-")))
        self._folder = folder
        template = Template(self._template_path, self._parameters, DEFAULTS, account=ACCOUNT, region=REGION)
        self._state = State(folder)
        self._cleanup.callback(self._state.close)
        identity = self._state.identity()
        self._guard = Guard(Keys(identity.access_key, identity.secret_key, REGION), observe=self._saw_storage)
        self._cleanup.callback(self._guard.close)
        self._cleanup.callback(self._save_at_the_end)
        # The ports first: a taken one is known at once, and the API's address is part of what is deployed.
        api = Server(lambda request: Answer(503), self._port, limit=MAX_BODY)
        self._cleanup.callback(api.close)
        self.api_url = api.url
        storage = self._storage_server(identity)
        self._cleanup.callback(storage.close)
        self.storage_url = storage.url
        identity.storage_port = storage.port
        self.environment = {
            "AWS_ACCESS_KEY_ID": identity.access_key,
            "AWS_SECRET_ACCESS_KEY": identity.secret_key,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.storage_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",  # the owner's own profiles are not for the handlers
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            **self._variables,
        }
        clients = Clients(self.client("s3"), self.client("sqs"), self.client("dynamodb"))
        for client in (clients.s3, clients.sqs, clients.dynamodb):
            self._cleanup.callback(client.close)
        self.deployment = deploy(template, clients, api_url=self.api_url, storage_url=self.storage_url)
        self.outputs = template.outputs(self.deployment.made)
        self._state.restore(self._guard, self.deployment)
        self._restored = True
        self._runtime = Runtime(self.deployment.functions, self.environment, self.logs, self._limits)
        self._cleanup.callback(self._runtime.close)
        identity.api_key = self._make_account(identity)
        self._state.keep(identity)
        self._state.describe(identity, self.storage_url, REGION, self.outputs)
        self._state.save_often(self._guard, self.deployment)
        self._start_gateway(api)
        self._start_feeding(clients)

    def _storage_server(self, identity: Identity) -> Server:
        """The port of the last time if it is free: links that were signed for it stay good."""
        if identity.storage_port:
            try:
                return Server(self._guard, identity.storage_port)
            except OSError:
                pass  # taken by now; links to it are dead, and jobs that carry them are signed afresh
        return Server(self._guard, 0)

    def _make_account(self, identity: Identity) -> str:
        wished = self._wished_key or identity.api_key
        self.api_key = self._account({**self.environment, **self._settings()}, wished)
        return self.api_key

    def _settings(self) -> dict[str, str]:
        """The variables that the template gives its functions."""
        functions = list(self.deployment.functions.values())
        return {name: value for function in functions for name, value in function.environment.items()}

    def _start_feeding(self, clients: Clients) -> None:
        self._pollers = [
            Poller(
                mapping,
                f"arn:aws:sqs:{REGION}:{ACCOUNT}:{mapping.queue}",
                REGION,
                clients.sqs,
                self._guard,
                self._runtime,
                self._hop,
                self._retry_seconds,
            )
            for mapping in self.deployment.mappings
        ]
        self._tickers = [
            Ticker(schedule, ACCOUNT, REGION, self._runtime, self._hop) for schedule in self.deployment.schedules
        ]
        self._cleanup.callback(self._stop_feeding)

    def _stop_feeding(self) -> None:
        feeders: list[Poller | Ticker] = [*self._pollers, *self._tickers]
        for feeder in feeders:
            feeder.stop()
        until = time.monotonic() + GRACE_SECONDS
        for feeder in feeders:
            feeder.join(max(0.0, until - time.monotonic()))
        self._runtime.close()  # ends what is still under way: its message is waiting again at the next start
        for feeder in feeders:
            feeder.join()

    def _start_gateway(self, server: Server) -> None:
        if len(self.deployment.apis) > 1:
            raise TemplateError("the stack serves one HTTP API")
        threads = ThreadPoolExecutor(CONCURRENT_REQUESTS, thread_name_prefix="request")
        self._cleanup.callback(threads.shutdown)

        def invoke(name: str, payload: bytes, seconds: float) -> Result | None:
            try:
                return threads.submit(self._runtime.invoke, name, payload).result(seconds)
            except FutureTimeoutError:
                return None

        headers = self.deployment.page_headers
        page = Page(FOLDER, headers) if headers is not None else lambda _: None
        by_arn = {function.arn: name for name, function in self.deployment.functions.items()}
        for api in self.deployment.apis.values():
            gateway = Gateway(api, by_arn.__getitem__, invoke, self._saw_request, page=page)
            server.handle, server.too_large = gateway, gateway.too_large

    def _save_at_the_end(self) -> None:
        self._state.stop()
        if self._restored:  # a start that failed must not empty the folder
            self._state.save(self._guard, self.deployment)

    def _feeders(self, name: str) -> list[Poller | Ticker]:
        pollers = [poller for poller in self._pollers if name in (poller.mapping.name, poller.mapping.function)]
        tickers = [ticker for ticker in self._tickers if name in (ticker.schedule.name, ticker.schedule.function)]
        if not pollers and not tickers:
            raise KeyError(name)
        return [*pollers, *tickers]

    def _invoke(self, name: str, payload: bytes) -> Result:
        result = self._runtime.invoke(name, payload)
        self._hop(f"invoke {name} {result.seconds * 1000:,.0f} ms")
        return result

    # ------------------------------------------------------------------ the timeline

    def _hop(self, what: str) -> None:
        self._hops.append(Hop(time.time() * 1000, what))

    def _saw_request(self, request: Request, answer: Answer, seconds: float) -> None:
        self._hop(f"http {request.method} {request.path} -> {answer.status} {seconds * 1000:,.0f} ms")

    def _saw_storage(self, request: Request, answer: Answer) -> None:
        _, _, key = unquote(request.path).lstrip("/").partition("/")
        if not key or request.header("x-amz-target") is not None or request.method == "OPTIONS":
            return
        size = len(request.body) if request.method in ("PUT", "POST") else len(answer.body)
        self._hop(f"s3 {request.method} {key} {size:,} B -> {answer.status}")


class FunctionError(Exception):
    """What a function raised, as Lambda tells it: errorType, errorMessage, stackTrace."""


class _Session:
    """As much of a boto3 session as the service's composition root uses; `close` ends its connections."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._session = boto3.Session(
            environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        self._made: list[Any] = []

    def client(self, service: str, *, config: Config, endpoint_url: str | None) -> Any:
        config = config.merge(Config(proxies={}))  # a proxy of the owner's shell cannot reach the loopback
        made = self._session.client(service, config=config, endpoint_url=endpoint_url)  # type: ignore[call-overload]
        self._made.append(made)
        return made

    def close(self) -> None:
        for client in self._made:
            client.close()


def _admin_account(environment: Mapping[str, str], wished: str | None) -> str:
    # Here, because a stack of another template has no such accounts and need not have the service on its path.
    from tessera import services, settings

    from infra.admin import create_account

    with closing(_Session(environment)) as session:
        chosen = settings.Settings.from_environ(environment)
        return create_account(services.build(chosen, session, environment["AWS_ENDPOINT_URL"]), wished, CREDITS)
