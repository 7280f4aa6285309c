"""`CorsRule`: which web page may read which answer; the bucket's rules and the API's are the same idea."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .server import Headers, Request


@dataclass(frozen=True)
class CorsRule:
    origins: tuple[str, ...]
    methods: tuple[str, ...]
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: int | None = None
    credentials: bool = False

    def admits(self, origin: str, method: str, headers: Iterable[str] = ()) -> bool:
        return (
            self.admits_origin(origin)
            and ("*" in self.methods or method in self.methods)
            and all(_matches(header.lower(), [allowed.lower() for allowed in self.headers]) for header in headers)
        )

    def admits_origin(self, origin: str) -> bool:
        return _matches(origin, self.origins)

    def answer(self, origin: str) -> list[tuple[str, str]]:
        """Headers of every answer to a page of this origin."""
        headers = [("Access-Control-Allow-Origin", "*" if "*" in self.origins and not self.credentials else origin)]
        if self.credentials:
            headers.append(("Access-Control-Allow-Credentials", "true"))
        if self.exposed:
            headers.append(("Access-Control-Expose-Headers", ", ".join(self.exposed)))
        return [*headers, ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")]


def is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and request.header("access-control-request-method") is not None


def preflight(rules: Iterable[CorsRule], request: Request) -> Headers | None:
    """Headers of the answer to a preflight; None if no rule admits the request."""
    origin = request.header("origin") or ""
    method = request.header("access-control-request-method") or ""
    asked = [name.strip() for name in (request.header("access-control-request-headers") or "").split(",")]
    asked = [name for name in asked if name]
    for rule in rules:
        if rule.admits(origin, method, asked):
            headers = [*rule.answer(origin), ("Access-Control-Allow-Methods", ", ".join(rule.methods))]
            if asked:
                headers.append(("Access-Control-Allow-Headers", ", ".join(asked)))
            if rule.max_age is not None:
                headers.append(("Access-Control-Max-Age", str(rule.max_age)))
            return headers
    return None


def actual(rules: Iterable[CorsRule], request: Request) -> Headers:
    """Headers to add to an answer; none without an Origin, and none for a page that no rule admits."""
    origin = request.header("origin")
    if origin is None:
        return ()
    return next((rule.answer(origin) for rule in rules if rule.admits(origin, request.method)), ())


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value, pattern.replace("[", "[[]")) for pattern in patterns)
