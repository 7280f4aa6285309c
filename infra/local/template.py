"""`Template`: template.yaml as CloudFormation would see it, with conditions applied and intrinsics resolvable.

Guarantees: `resources` come in dependency order (a cycle raises), those whose condition is false are absent, and every
intrinsic, parameter or reference that is not understood raises `TemplateError`, so that the template and the
one-machine stack cannot drift apart unseen.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CODE_BUCKET = "s3://local-code/"
FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"
PLACEHOLDER = re.compile(r"\$\{([^}]+)\}")
NO_VALUE = object()


class TemplateError(Exception):
    """The template says something that the one-machine stack does not understand."""


@dataclass(frozen=True)
class Made:
    """What Ref and GetAtt give for a resource."""

    ref: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Resource:
    name: str
    type: str
    properties: dict[str, Any]


class Template:
    def __init__(
        self, path: Path, parameters: Mapping[str, str], defaults: Mapping[str, str], *, account: str, region: str
    ) -> None:
        """`defaults` are for parameters that have none in the template; one that it does not declare is left out."""
        self.root = path.resolve().parent
        raw = yaml_parse(path.read_text())
        self.code = _take_code(raw)
        self.values: dict[str, Any] = _parameters(raw.get("Parameters", {}), parameters, defaults)
        self.values |= {
            "AWS::AccountId": account,
            "AWS::Region": region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": "tessera",
            "AWS::StackId": f"arn:aws:cloudformation:{region}:{account}:stack/tessera/local",
            "AWS::NoValue": NO_VALUE,
        }
        translated = _translate(raw, {name: self.values[name] for name in raw.get("Parameters", {})}, region)
        self._conditions: dict[str, Any] = translated.get("Conditions", {})
        self._mappings: dict[str, Any] = translated.get("Mappings", {})
        self._outputs: dict[str, Any] = translated.get("Outputs", {})
        self.resources = self._in_order(translated["Resources"])

    def outputs(self, made: Mapping[str, Made]) -> dict[str, str]:
        wanted = {name: entry for name, entry in self._outputs.items() if self._wanted(entry)}
        return {name: str(self.resolve(entry["Value"], made)) for name, entry in wanted.items()}

    def resolve(self, value: Any, made: Mapping[str, Made]) -> Any:
        """The value with every intrinsic replaced; `made` has the resources that it may refer to."""
        if isinstance(value, list):
            items = [self.resolve(item, made) for item in value]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            name, argument = next(iter(value.items()))
            if name in ("Ref", "Condition") or name.startswith("Fn::"):
                return self._intrinsic(name, argument, made)
        entries = {name: self.resolve(item, made) for name, item in value.items()}
        return {name: item for name, item in entries.items() if item is not NO_VALUE}

    def _intrinsic(self, name: str, argument: Any, made: Mapping[str, Made]) -> Any:
        if name == "Ref":
            return self._ref(argument, made)
        if name == "Fn::GetAtt":
            resource, _, attribute = ".".join(argument if isinstance(argument, list) else [argument]).partition(".")
            return self._attribute(resource, attribute, made)
        if name == "Fn::Sub":
            return self._sub(argument, made)
        if name == "Fn::If":
            condition, yes, no = argument
            return self.resolve(yes if self.condition(condition) else no, made)
        if name == "Condition":
            return self.condition(argument)
        if name not in ("Fn::Join", "Fn::Select", "Fn::Split", "Fn::FindInMap") and name not in LOGIC:
            raise TemplateError(f"unknown intrinsic {name}")
        arguments = self.resolve(argument, made)
        if name in LOGIC:
            return LOGIC[name](arguments)
        if name == "Fn::Join":
            return arguments[0].join(str(part) for part in arguments[1])
        if name == "Fn::Select":
            return arguments[1][int(arguments[0])]
        if name == "Fn::Split":
            return arguments[1].split(arguments[0])
        return self._mappings[arguments[0]][arguments[1]][arguments[2]]

    def condition(self, name: str) -> bool:
        if name not in self._conditions:
            raise TemplateError(f"unknown condition {name}")
        return bool(self.resolve(self._conditions[name], {}))

    def _wanted(self, entry: dict[str, Any]) -> bool:
        return "Condition" not in entry or self.condition(entry["Condition"])

    def _ref(self, name: str, made: Mapping[str, Made]) -> Any:
        if name in self.values:
            return self.values[name]
        if name in made:
            return made[name].ref
        raise TemplateError(f"Ref to unknown {name}")

    def _attribute(self, name: str, attribute: str, made: Mapping[str, Made]) -> str:
        if name not in made or attribute not in made[name].attributes:
            raise TemplateError(f"GetAtt of unknown {name}.{attribute}")
        return made[name].attributes[attribute]

    def _sub(self, argument: Any, made: Mapping[str, Made]) -> str:
        text, local = (argument, {}) if isinstance(argument, str) else (argument[0], self.resolve(argument[1], made))

        def value(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name.startswith("!"):
                return f"${{{name[1:]}}}"
            if name in local:
                return str(local[name])
            resource, dot, attribute = name.partition(".")
            return self._attribute(resource, attribute, made) if dot else str(self._ref(name, made))

        return PLACEHOLDER.sub(value, text)

    def _in_order(self, entries: dict[str, Any]) -> list[Resource]:
        entries = {name: entry for name, entry in entries.items() if self._wanted(entry)}
        needs: dict[str, set[str]] = {}
        for name, entry in entries.items():
            explicit = entry.get("DependsOn", [])
            names = {explicit} if isinstance(explicit, str) else set(explicit)
            names |= set(self._mentions(entry.get("Properties", {})))
            needs[name] = names & entries.keys()
        order = TopologicalSorter(needs).static_order()
        return [Resource(name, entries[name]["Type"], entries[name].get("Properties", {})) for name in order]

    def _mentions(self, value: Any) -> Iterator[str]:
        if isinstance(value, list):
            for item in value:
                yield from self._mentions(item)
        elif isinstance(value, dict):
            for name, item in value.items():
                if name == "Ref":
                    yield item
                elif name == "Fn::GetAtt":
                    yield item[0] if isinstance(item, list) else item.partition(".")[0]
                elif name == "Fn::Sub":
                    text = item if isinstance(item, str) else item[0]
                    yield from (found.partition(".")[0] for found in PLACEHOLDER.findall(text))
                    yield from self._mentions(item)
                elif name == "Fn::If":
                    yield from self._mentions(item[1] if self.condition(item[0]) else item[2])
                else:
                    yield from self._mentions(item)


LOGIC: dict[str, Any] = {
    "Fn::Equals": lambda pair: str(pair[0]) == str(pair[1]),
    "Fn::Not": lambda one: not one[0],
    "Fn::And": all,
    "Fn::Or": any,
}


def _take_code(raw: dict[str, Any]) -> dict[str, str]:
    """Puts a name in S3 where a folder stands, as `sam package` does; the folders by logical name."""
    shared = raw.get("Globals", {}).get("Function", {}).pop("CodeUri", None)
    folders: dict[str, str] = {}
    for name, entry in raw["Resources"].items():
        keys = {FUNCTION: "CodeUri", LAYER: "ContentUri"}
        if entry["Type"] in keys:
            key = keys[entry["Type"]]
            folder = entry.setdefault("Properties", {}).get(key, shared if key == "CodeUri" else None)
            if not isinstance(folder, str):
                raise TemplateError(f"{name} has no {key} that is a folder")
            folders[name] = folder
            entry["Properties"][key] = CODE_BUCKET + name
    return folders


def _parameters(declared: dict[str, Any], given: Mapping[str, str], defaults: Mapping[str, str]) -> dict[str, Any]:
    if unknown := given.keys() - declared.keys():
        raise TemplateError(f"no such parameter: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    for name, entry in declared.items():
        value = given.get(name, entry.get("Default", defaults.get(name)))
        if value is None:
            raise TemplateError(f"parameter {name} has no default: give it a value")
        values[name] = _parameter(name, entry, str(value))
    return values


def _parameter(name: str, entry: dict[str, Any], value: str) -> Any:
    kind = entry["Type"]
    allowed = [str(item) for item in entry.get("AllowedValues", [value])]
    if value not in allowed:
        raise TemplateError(f"{name} must be one of {', '.join(allowed)}")
    if "AllowedPattern" in entry and not re.fullmatch(entry["AllowedPattern"], value):
        raise TemplateError(f"{name} does not match {entry['AllowedPattern']}")
    if kind == "Number":
        try:
            number = float(value)
        except ValueError:
            raise TemplateError(f"{name} must be a number") from None
        if not entry.get("MinValue", number) <= number <= entry.get("MaxValue", number):
            raise TemplateError(f"{name} is out of its range")
        return value
    if kind == "CommaDelimitedList":
        return [part.strip() for part in value.split(",")]
    if kind != "String":
        raise TemplateError(f"{name} has the unknown type {kind}")
    return value


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}  # roles are not made here, so their ARNs do not matter


def _translate(raw: dict[str, Any], values: dict[str, Any], region: str) -> dict[str, Any]:
    before = os.environ.get("AWS_DEFAULT_REGION")
    os.environ["AWS_DEFAULT_REGION"] = region  # the translator reads it and gives up without
    try:
        translated: dict[str, Any] = transform(raw, dict(values), _NoManagedPolicies())
    finally:
        if before is None:
            del os.environ["AWS_DEFAULT_REGION"]
        else:
            os.environ["AWS_DEFAULT_REGION"] = before
    return translated
