"""The template reader: intrinsics, order, and that it raises rather than guesses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.local.resources import layer_version
from infra.local.stack import FunctionError, Stack
from infra.local.template import Made, Template, TemplateError
from tests.integration.local.support import TINY

HEAD = "Transform: AWS::Serverless-2016-10-31\n"


def load(path: Path, **parameters: str) -> Template:
    defaults = {"BucketName": "b", "NotThere": "x"}
    return Template(path, parameters, defaults, account="123456789012", region="us-east-1")


@pytest.fixture
def template(tmp_path: Path) -> Any:
    def make(text: str, **parameters: str) -> Template:
        path = tmp_path / "template.yaml"
        path.write_text(HEAD + text)
        return load(path, **parameters)

    return make


VALUES = """
Parameters:
  Name: {Type: String, Default: n}
  List: {Type: CommaDelimitedList, Default: "a, b"}
Conditions:
  Sure: !Equals [!Ref Name, n]
  Never: !Not [!Condition Sure]
  Both: !And [!Condition Sure, !Condition Never]
  One: !Or [!Condition Sure, !Condition Never]
Mappings: {Map: {n: {size: 4}}}
Resources:
  Queue: {Type: AWS::SQS::Queue}
"""


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ({"Ref": "Name"}, "n"),
        ({"Ref": "AWS::AccountId"}, "123456789012"),
        ({"Ref": "List"}, ["a", "b"]),
        ({"Ref": "Queue"}, "http://q"),
        ({"Fn::GetAtt": ["Queue", "Arn"]}, "arn:q"),
        ({"Fn::GetAtt": "Queue.Arn"}, "arn:q"),
        ({"Fn::Sub": "${Queue}|${Queue.Arn}|${AWS::Region}|${!kept}"}, "http://q|arn:q|us-east-1|${kept}"),
        ({"Fn::Sub": ["${X}-${Name}", {"X": {"Ref": "Name"}}]}, "n-n"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}]]}, "a-n"),
        ({"Fn::Select": ["1", {"Ref": "List"}]}, "b"),
        ({"Fn::Split": [".", "a.b"]}, ["a", "b"]),
        ({"Fn::FindInMap": ["Map", {"Ref": "Name"}, "size"]}, 4),
        ({"Fn::If": ["Sure", "y", "n"]}, "y"),
        ({"Fn::If": ["Never", "y", "n"]}, "n"),
        ({"Fn::If": ["Both", "y", "n"]}, "n"),
        ({"Fn::If": ["One", "y", "n"]}, "y"),
        ({"a": {"Fn::If": ["Never", "y", {"Ref": "AWS::NoValue"}]}, "b": [1]}, {"b": [1]}),
        ([{"Ref": "AWS::NoValue"}, 1], [1]),
    ],
)
def test_intrinsics(template, value: Any, result: Any) -> None:
    made = {"Queue": Made("http://q", {"Arn": "arn:q"})}
    assert template(VALUES).resolve(value, made) == result


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::Cidr": ["10.0.0.0/8", 1, 1]},
        {"Fn::ImportValue": "x"},
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Queue", "Nothing"]},
        {"Fn::Sub": "${Nothing}"},
        {"Fn::If": ["Nothing", 1, 2]},
    ],
)
def test_what_is_not_understood_raises(template, value: Any) -> None:
    with pytest.raises(TemplateError):
        template(VALUES).resolve(value, {"Queue": Made("http://q", {"Arn": "arn:q"})})


def test_resources_come_in_the_order_of_their_needs(template) -> None:
    made = template(
        """
Resources:
  A: {Type: AWS::SQS::Queue, DependsOn: C}
  B: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub "x-${A.QueueName}"}}
  C: {Type: AWS::SQS::Queue, Condition: Never}
  D: {Type: AWS::SQS::Queue, DependsOn: [B]}
Conditions: {Never: !Equals [1, 2]}
"""
    )
    assert [resource.name for resource in made.resources] == ["A", "B", "D"]


def test_a_cycle_raises(template) -> None:
    with pytest.raises(ValueError, match="cycle"):
        template("Resources:\n  A: {Type: X, DependsOn: B}\n  B: {Type: X, DependsOn: A}\n")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"Shade": "green"}, "Shade must be one of"),
        ({"Colour": "red"}, "no such parameter: Colour"),
    ],
)
def test_parameters_are_checked(parameters: dict[str, str], message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load(TINY, **parameters)


@pytest.mark.parametrize(
    ("declared", "value", "message"),
    [
        ("{Type: Number, MinValue: 2}", "1", "out of its range"),
        ("{Type: Number}", "x", "must be a number"),
        ("{Type: String, AllowedPattern: '[a-z]+'}", "A", "does not match"),
        ("{Type: 'AWS::SSM::Parameter::Value<String>'}", "x", "unknown type"),
    ],
)
def test_parameter_types_are_checked(template, declared: str, value: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        template(f"Parameters:\n  P: {declared}\nResources:\n  Q: {{Type: AWS::SQS::Queue}}\n", P=value)


def test_a_parameter_without_a_default_has_to_be_given(template) -> None:
    with pytest.raises(TemplateError, match="P has no default"):
        template("Parameters:\n  P: {Type: String}\nResources:\n  Q: {Type: AWS::SQS::Queue}\n")


def test_a_function_that_cannot_be_imported_says_why(tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "broken.py").write_text("import no_such_module\n")
    template = tmp_path / "template.yaml"
    template.write_text(
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  F:\n    Type: AWS::Serverless::Function\n"
        "    Properties: {Runtime: python3.11, CodeUri: functions/, Handler: broken.go}\n"
    )
    with Stack(template, account=lambda *_: "k") as stack:
        with pytest.raises(FunctionError, match="no_such_module"):
            stack.invoke("F", {})
        assert "ModuleNotFoundError" in (stack.logs / "F.log").read_text()


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("{Type: AWS::Kinesis::Stream}", "R has the unknown type AWS::Kinesis::Stream"),
        ("{Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}", "R .* has unknown properties: FifoQueue"),
        ("{Type: AWS::S3::Bucket, Properties: {NotificationConfiguration: {LambdaConfigurations: []}}}", "notifies by"),
        (
            "{Type: AWS::DynamoDB::Table, Properties: {StreamSpecification: {StreamViewType: KEYS_ONLY}, "
            "AttributeDefinitions: [{AttributeName: a, AttributeType: S}], BillingMode: PAY_PER_REQUEST, "
            "KeySchema: [{AttributeName: a, KeyType: HASH}]}}",
            "StreamSpecification",
        ),
    ],
)
def test_what_the_stack_cannot_make_raises(tmp_path: Path, resource: str, message: str) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(f"Transform: AWS::Serverless-2016-10-31\nResources:\n  R: {resource}\n")
    with pytest.raises(TemplateError, match=message), Stack(template, account=lambda *_: "k"):
        pass


def test_a_layer_has_another_version_after_any_change_to_its_files(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python/engine.py").write_text("SCALE = 4")
    first = layer_version(tmp_path)
    (tmp_path / "python/__pycache__").mkdir()
    (tmp_path / "python/__pycache__/engine.pyc").write_bytes(b"compiled")
    assert layer_version(tmp_path) == first
    (tmp_path / "python/engine.py").write_text("SCALE = 2")
    second = layer_version(tmp_path)
    (tmp_path / "python/engine.py").rename(tmp_path / "python/motor.py")
    assert len({first, second, layer_version(tmp_path)}) == 3
