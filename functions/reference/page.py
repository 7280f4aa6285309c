"""The document as one page for people: HTML without script, built from nothing but the document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

Json = dict[str, Any]


def page(document: Json) -> str:
    info = document["info"]
    return "\n".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: reference</title>",
            '<link rel="stylesheet" href="reference/style.css"></head><body>',
            f"<nav><h1>{escape(info['title'])}</h1>{_contents(document)}</nav>",
            f"<main><p>{_prose(info['description'])}</p>",
            f'<p><a href="openapi.json">OpenAPI {document["openapi"]}</a></p>',
            *_operations(document),
            "<h2>Shapes</h2>",
            *_shapes(document["components"]["schemas"]),
            "</main></body></html>\n",
        )
    )


def _contents(document: Json) -> str:
    listed = (
        f'<li><a href="#{operation["operationId"]}"><b>{method}</b> {escape(path)}</a></li>'
        for method, path, operation in _each(document)
    )
    return f"<ul>{''.join(listed)}</ul>"


def _each(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _operations(document: Json) -> Iterator[str]:
    tag = ""
    about = {entry["name"]: entry["description"] for entry in document["tags"]}
    for method, path, operation in _each(document):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield f"<h2>{escape(tag)}</h2><p>{_prose(about[tag])}</p>"
        yield f'<section id="{operation["operationId"]}"><h3><b>{method}</b> {escape(path)}</h3>'
        yield f"<p><strong>{escape(operation['summary'])}.</strong> {_prose(operation['description'])}</p>"
        yield from _body(operation)
        yield from _responses(operation["responses"])
        yield "</section>"


def _body(operation: Json) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        yield f"<p><code>{escape(parameter['name'])}</code>: {_prose(parameter['description'])}</p>"
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content:
        yield f"<p>Body: {_type(content['schema'])}</p><pre>{_json(content.get('example', {}))}</pre>"


def _responses(responses: Json) -> Iterator[str]:
    yield "<table><thead><tr><th>Status</th><th>Answer</th></tr></thead><tbody>"
    for status, answer in responses.items():
        content = answer["content"]["application/json"]
        examples = content.get("examples", {}).values()
        said = "<br>".join(f"<code>{_json(example['value'], None)}</code>" for example in examples)
        yield f"<tr><td>{status}</td><td>{said or _type(content['schema'])}</td></tr>"
    yield "</tbody></table>"


def _shapes(schemas: Json) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        yield f'<section id="{_anchor(name)}"><h3>{escape(name)}</h3><p>{_prose(schema.get("description", ""))}</p>'
        required = schema.get("required", ())
        rows = "".join(
            f"<tr><td><code>{escape(field)}</code>{'' if field in required else '?'}</td>"
            f"<td>{_type(of)}</td><td>{_prose(of.get('description', ''))}</td></tr>"
            for field, of in schema.get("properties", {}).items()
        )
        yield f"<table><tbody>{rows}</tbody></table></section>"


def _type(schema: Json) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#{_anchor(name)}">{escape(name)}</a>'
    if "anyOf" in schema:
        return _joined(_type(option) for option in schema["anyOf"] if option.get("type") != "null")
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return _joined(f"<code>{_json(value, None)}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and "properties" in schema:
        fields = (f"<code>{escape(name)}</code>: {_type(inner)}" for name, inner in schema["properties"].items())
        return f"{{ {', '.join(fields)} }}"
    bounds = [f"{word} {schema[name]}" for name, word in BOUNDS if name in schema]
    return escape(" ".join([str(schema.get("type", "anything")), *bounds]))


BOUNDS = (
    ("minimum", "from"),
    ("maximum", "to"),
    ("minLength", "of at least"),
    ("maxLength", "of at most"),
    ("pattern", "like"),
)


def _joined(options: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(options))


def _prose(text: str) -> str:
    """Escaped, with `code` as such."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _json(value: Any, indent: int | None = 2) -> str:
    return escape(json.dumps(value, indent=indent, ensure_ascii=False))


def _anchor(name: str) -> str:
    return f"shape-{escape(name)}"


STYLE = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { display: grid; grid-template-columns: 17rem minmax(0, 1fr); gap: 2rem; }
body { max-width: 78rem; margin: 0 auto; padding: 1rem; }
nav { position: sticky; top: 1rem; align-self: start; max-height: 95vh; overflow: auto; font-size: 0.875rem; }
nav ul { list-style: none; padding: 0; }
h3 { margin-top: 2.5rem; }
h3 b, nav b { color: #1a6d3c; font-size: 0.8em; }
pre, code { font: 0.875rem/1.5 ui-monospace, monospace; }
pre { padding: 0.75rem; overflow: auto; background: #8882; border-radius: 0.4rem; }
table { width: 100%; border-collapse: collapse; font-size: 0.875rem; }
th, td { padding: 0.3rem 0.75rem 0.3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
td { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { h3 b, nav b { color: #6fcf97; } }
@media (max-width: 50rem) { body { display: block; } nav { position: static; max-height: none; } }
"""
