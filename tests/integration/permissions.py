"""What each function of template.yaml may do, and what it does: both as (action, resource) pairs.

A resource is as narrow as a role should name it: a queue, the table or one of its indexes, the bucket or a folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.local.deployment import Deployment
from infra.local.template import Template

Right = tuple[str, str]

# Given by SAM to every function, and to those that a queue feeds: logs, and receiving and deleting messages.
LOGS = "service-role/AWSLambdaBasicExecutionRole"
POLLING = "service-role/AWSLambdaSQSQueueExecutionRole"

# Operations whose right has another name, or is on another resource, by AWS' service authorisation reference.
OBJECT_RIGHTS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "GetObject": "s3:GetObject",
    "HeadObject": "s3:GetObject",
    "ListParts": "s3:ListMultipartUploadParts",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
}
BUCKET_RIGHTS = {
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
}
QUEUE_RIGHTS = {
    "GetQueueAttributes": "sqs:GetQueueAttributes",
    "SendMessage": "sqs:SendMessage",
    "SendMessageBatch": "sqs:SendMessage",
}
ROW_OPERATIONS = {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"}
TRANSACTED = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
TELL_OF_MISSING = {"GetObject", "HeadObject", "CopyObject"}  # 403 instead of 404 without s3:ListBucket


@dataclass
class Recorder:
    """Notes what is asked for while a function runs. Signing a link counts: it carries the signer's rights."""

    region: str
    account: str
    used: dict[str, set[Right]] = field(default_factory=lambda: defaultdict(set))
    leading: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By function: kinds of the partition keys of its rows, as TOKEN#*."""
    calls: list[str] = field(default_factory=list)  # by all functions, in order
    _function: str | None = None

    def watch(self, session: Any) -> None:
        """All clients that the session makes from now on."""
        session.events.register("provide-client-params.*.*", self._asked)
        session.events.register("before-call.*.*", self._called)
        session.events.register("after-call.s3.*", self._answered)

    @contextmanager
    def running(self, function: str) -> Iterator[None]:
        before, self._function = self._function, function
        try:
            yield
        finally:
            self._function = before

    def _asked(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if self._function is not None:
            service = model.service_model.service_name
            self.used[self._function] |= set(getattr(self, f"_{service}")(model.name, params))
            if service == "dynamodb":
                self.leading[self._function] |= set(_kinds(params))

    def _called(self, model: Any, **_: Any) -> None:
        if self._function is not None:
            self.calls.append(model.name)

    def _answered(self, http_response: Any, model: Any, **_: Any) -> None:
        if self._function is not None and model.name in TELL_OF_MISSING and http_response.status_code == 404:
            objects = {arn for action, arn in self.used[self._function] if action == "s3:GetObject"}
            (bucket,) = {arn.partition("/")[0] for arn in objects}
            self.used[self._function].add(("s3:ListBucket", bucket))

    def _s3(self, operation: str, params: dict[str, Any]) -> Iterator[Right]:
        bucket = f"arn:aws:s3:::{params['Bucket']}"
        if operation in BUCKET_RIGHTS:
            yield BUCKET_RIGHTS[operation], bucket
        elif operation == "CreateBucket":
            return  # as botocore names the signing of a form, which carries s3:PutObject
        elif operation == "DeleteObjects":
            for thing in params["Delete"]["Objects"]:
                yield "s3:DeleteObject", f"{bucket}/{_folder(thing['Key'])}"
        elif operation == "CopyObject":
            yield (
                "s3:GetObject",
                f"arn:aws:s3:::{params['CopySource']['Bucket']}/{_folder(params['CopySource']['Key'])}",
            )
            yield "s3:PutObject", f"{bucket}/{_folder(params['Key'])}"
        else:
            yield OBJECT_RIGHTS[operation], f"{bucket}/{_folder(params['Key'])}"

    def _dynamodb(self, operation: str, params: dict[str, Any]) -> Iterator[Right]:
        if operation == "TransactWriteItems":
            for write in params["TransactItems"]:
                ((kind, item),) = write.items()
                yield TRANSACTED[kind], self._arn("dynamodb", f"table/{item['TableName']}")
        elif operation == "BatchWriteItem":
            for table in params["RequestItems"]:
                yield "dynamodb:BatchWriteItem", self._arn("dynamodb", f"table/{table}")
        elif operation in ROW_OPERATIONS:
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            yield f"dynamodb:{operation}", self._arn("dynamodb", f"table/{params['TableName']}{index}")
        else:
            raise KeyError(operation)

    def _sqs(self, operation: str, params: dict[str, Any]) -> Iterator[Right]:
        yield QUEUE_RIGHTS[operation], self._arn("sqs", params["QueueUrl"].rpartition("/")[2])

    def _secretsmanager(self, operation: str, params: dict[str, Any]) -> Iterator[Right]:
        # AWS adds six characters to a secret's name.
        yield f"secretsmanager:{operation}", self._arn("secretsmanager", f"secret:{params['SecretId']}-??????")

    def _arn(self, service: str, name: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{name}"


def _kinds(params: Any) -> Iterator[str]:
    """Of all partition keys that a request of DynamoDB's holds."""
    if isinstance(params, dict):
        if isinstance(params.get("pk"), dict):
            yield f"{params['pk']['S'].partition('#')[0]}#*"
        for value in params.values():
            yield from _kinds(value)
    elif isinstance(params, list):
        for value in params:
            yield from _kinds(value)


def _folder(key: str) -> str:
    return f"{key.partition('/')[0]}/*"


def granted(template: Template, deployment: Deployment) -> dict[str, set[Right]]:
    """By function: all that its role allows beside SAM's managed policies."""
    return {name: set(_rights(role)) for name, role in _roles(template, deployment).items()}


def rows_granted(template: Template, deployment: Deployment) -> dict[str, set[str]]:
    """By function whose role is held to kinds of rows: those kinds."""
    found = {
        name: {kind for statement in _statements(role) if "Condition" in statement for kind in _leading(statement)}
        for name, role in _roles(template, deployment).items()
    }
    return {name: kinds for name, kinds in found.items() if kinds}


def managed(template: Template, deployment: Deployment) -> dict[str, set[str]]:
    """By function: the managed policies of its role."""
    return {
        name: {arn.partition("policy/")[2] for arn in role["ManagedPolicyArns"]}
        for name, role in _roles(template, deployment).items()
    }


def _roles(template: Template, deployment: Deployment) -> dict[str, dict[str, Any]]:
    made = {resource.name: resource for resource in template.resources}
    roles = {name: made[name].properties["Role"]["Fn::GetAtt"][0] for name in deployment.functions}
    return {name: template.resolve(made[role].properties, deployment.made) for name, role in roles.items()}


def _rights(role: dict[str, Any]) -> Iterator[Right]:
    for statement in _statements(role):
        assert statement["Effect"] == "Allow", "not understood here"
        assert not statement.keys() - {"Sid", "Effect", "Action", "Resource", "Condition"}, "not understood here"
        if "Condition" in statement:
            _leading(statement)
        for action in _list(statement["Action"]):
            for resource in _list(statement["Resource"]):
                yield action, resource


def _statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role.get("Policies", []):
        yield from policy["PolicyDocument"]["Statement"]


def _leading(statement: dict[str, Any]) -> list[str]:
    """The one condition that is understood here: which rows."""
    ((operator, values),) = statement["Condition"].items()
    assert operator == "ForAllValues:StringLike" and values.keys() == {"dynamodb:LeadingKeys"}, "not understood here"
    return _list(values["dynamodb:LeadingKeys"])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
