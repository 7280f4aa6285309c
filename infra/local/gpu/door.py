"""`Door`: an address on the loopback where Modal's protocol is spoken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_grpc

LOOPBACK = "127.0.0.1"

Answer = Callable[[str, Any, Mapping[str, Any]], Awaitable[Any]]


class Door:
    """`answer` is given the name of each request, the request and its metadata."""

    def __init__(self, answer: Answer) -> None:
        self._server = _Server([_Handlers(answer)], status_details_codec=custom_detail_codec)

    async def open(self) -> str:
        """The address."""
        await self._server.start(LOOPBACK, 0)
        listening: Any = self._server._server
        return f"http://{LOOPBACK}:{listening.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Together with what is connected."""
        self._server.close()
        for protocol in self._server.made:
            if hasattr(protocol, "connection"):  # it has one once it is connected
                protocol.connection.close()


class _Server(Server):
    """Remembers its connections: grpclib's own leaves it to the other side to end them."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self.made.append(protocol)
        return protocol


class _Handlers:
    """What grpclib serves: every request of the protocol that has one answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __mapping__(self) -> dict[str, Handler]:
        class Names:
            def __getattr__(self, name: str) -> str:
                return name

        every = api_grpc.ModalClientBase.__mapping__(Names())  # type: ignore[arg-type]
        return {
            path: handler._replace(func=self._handler(str(handler.func)))
            for path, handler in every.items()
            if handler.cardinality is Cardinality.UNARY_UNARY
        }

    def _handler(self, name: str) -> Callable[[Stream[Any, Any]], Coroutine[Any, Any, None]]:
        async def serve(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            sent: Any = stream.metadata or {}
            await stream.send_message(await self._answer(name, request, sent))

        return serve
