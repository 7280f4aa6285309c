"""`deploy`: makes the template's bucket, queues and table, and collects what the stack itself has to run.

Guarantees: every resource type and every property is made, or named in `NOT_MADE` or in an `ignore`, or it raises.
Making what is already there changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from .deployment import Api, Deployment, Function, Mapping, Schedule, Throttle
from .template import Made, Resource, Template, TemplateError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

NOT_MADE = {
    "AWS::CloudFront::OriginAccessControl": "the page comes from its folder",
    "AWS::CloudWatch::Alarm": "nobody is paged",
    "AWS::CloudWatch::CompositeAlarm": "nobody is paged",
    "AWS::CloudWatch::Dashboard": "metrics are lines of the logs, which are in files",
    "AWS::IAM::ManagedPolicy": "handlers share one key; roles are judged in the cloud and by the template's tests",
    "AWS::IAM::Policy": "as above",
    "AWS::IAM::Role": "as above",
    "AWS::Lambda::EventInvokeConfig": "a schedule that fails is tried twice more",
    "AWS::Lambda::Permission": "the stack calls its own functions",
    "AWS::Logs::LogGroup": "the logs are in files",
    "AWS::Logs::MetricFilter": "the logs are in files",
    "AWS::S3::BucketPolicy": "it refuses plain HTTP, and the loopback has no TLS; nothing unsigned is let in",
    "AWS::SNS::Subscription": "nobody is paged",
    "AWS::SNS::Topic": "nobody is paged",
}


@dataclass(frozen=True)
class Clients:
    s3: S3Client
    sqs: SQSClient
    dynamodb: DynamoDBClient


class _Properties:
    """A resource's properties, each to be taken once; `end` raises if one is left."""

    def __init__(self, resource: Resource, values: dict[str, Any]) -> None:
        self._resource = resource
        self._values = dict(values)

    def take(self, name: str, default: Any = None) -> Any:
        return self._values.pop(name, default)

    def need(self, name: str) -> Any:
        if name not in self._values:
            raise TemplateError(f"{self._resource.name} ({self._resource.type}) has no {name}")
        return self._values.pop(name)

    def ignore(self, *names: str) -> None:
        for name in names:
            self._values.pop(name, None)

    def end(self) -> None:
        if self._values:
            unknown = ", ".join(sorted(self._values))
            raise TemplateError(f"{self._resource.name} ({self._resource.type}) has unknown properties: {unknown}")


def deploy(template: Template, clients: Clients, *, api_url: str, storage_url: str) -> Deployment:
    """`api_url` is what the API's endpoint attribute gives, `storage_url` where buckets are."""
    return _Deployer(template, clients, api_url, storage_url).run()


class _Deployer:
    def __init__(self, template: Template, clients: Clients, api_url: str, storage_url: str) -> None:
        self.template = template
        self.clients = clients
        self.api_url = api_url
        self.storage_url = storage_url
        self.region = template.values["AWS::Region"]
        self.account = template.values["AWS::AccountId"]
        self.done = Deployment()
        self.layers: dict[str, Path] = {}

    def run(self) -> Deployment:
        makers: dict[str, Callable[[Resource, _Properties], Made]] = {
            "AWS::ApiGatewayV2::Api": self.api,
            "AWS::ApiGatewayV2::Stage": self.stage,
            "AWS::CloudFront::Distribution": self.distribution,
            "AWS::CloudFront::ResponseHeadersPolicy": self.headers_policy,
            "AWS::DynamoDB::Table": self.table,
            "AWS::Events::Rule": self.rule,
            "AWS::Lambda::EventSourceMapping": self.mapping,
            "AWS::Lambda::Function": self.function,
            "AWS::Lambda::LayerVersion": self.layer,
            "AWS::S3::Bucket": self.bucket,
            "AWS::SQS::Queue": self.queue,
            "AWS::SQS::QueuePolicy": self.queue_policy,
            "AWS::Scheduler::Schedule": self.schedule,
        }
        for resource in self.template.resources:
            if resource.type in NOT_MADE:
                arn = self.arn(resource.type.split("::")[1].lower(), f"not-made/{resource.name}")
                self.done.made[resource.name] = Made(resource.name, {"Arn": arn, "Id": resource.name})
                continue
            if resource.type not in makers:
                raise TemplateError(f"{resource.name} has the unknown type {resource.type}")
            values = self.template.resolve(resource.properties, self.done.made)
            properties = _Properties(resource, values)
            self.done.made[resource.name] = makers[resource.type](resource, properties)
            properties.end()
        return self.done

    def arn(self, service: str, name: str) -> str:
        return f"arn:aws:{service}:{self.region}:{self.account}:{name}"

    def physical(self, resource: Resource, given: str | None) -> str:
        return given or f"tessera-{resource.name}"

    # ------------------------------------------------------------------ storage

    def bucket(self, resource: Resource, properties: _Properties) -> Made:
        s3: Any = self.clients.s3  # what CloudFormation and the API call the same thing differs too much for types
        name = self.physical(resource, properties.take("BucketName")).lower()
        elsewhere = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": elsewhere} if elsewhere else {}))
        if encryption := properties.take("BucketEncryption"):
            rules = encryption["ServerSideEncryptionConfiguration"]
            rules = [
                {
                    ("Apply" + key if key == "ServerSideEncryptionByDefault" else key): value
                    for key, value in rule.items()
                }
                for rule in rules
            ]
            s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": rules})
        if block := properties.take("PublicAccessBlockConfiguration"):
            s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
        if ownership := properties.take("OwnershipControls"):
            s3.put_bucket_ownership_controls(Bucket=name, OwnershipControls=ownership)
        if rules := properties.take("CorsConfiguration"):
            s3.put_bucket_cors(
                Bucket=name, CORSConfiguration={"CORSRules": [_cors_rule(rule) for rule in rules["CorsRules"]]}
            )
        if lifecycle := properties.take("LifecycleConfiguration"):
            rules = [_lifecycle_rule(rule) for rule in lifecycle["Rules"]]
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        if tags := properties.take("Tags"):
            s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        if notification := properties.take("NotificationConfiguration"):
            if other := notification.keys() - {"QueueConfigurations"}:
                raise TemplateError(f"{resource.name} notifies by {', '.join(other)}; only queues are made")
            queues = [_queue_notification(entry) for entry in notification["QueueConfigurations"]]
            s3.put_bucket_notification_configuration(
                Bucket=name, NotificationConfiguration={"QueueConfigurations": queues}
            )
        self.done.buckets.append(name)
        domain = f"{name}.s3.amazonaws.com"
        return Made(name, {"Arn": f"arn:aws:s3:::{name}", "DomainName": domain, "RegionalDomainName": domain})

    def table(self, resource: Resource, properties: _Properties) -> Made:
        dynamodb: Any = self.clients.dynamodb
        name = self.physical(resource, properties.take("TableName"))
        request = {
            key: value
            for key in (
                *("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"),
                *("BillingMode", "ProvisionedThroughput", "DeletionProtectionEnabled", "Tags"),
            )
            if (value := properties.take(key)) is not None
        }
        if encryption := properties.take("SSESpecification"):
            request["SSESpecification"] = {"Enabled": encryption["SSEEnabled"]}
        ttl, backups = properties.take("TimeToLiveSpecification"), properties.take("PointInTimeRecoverySpecification")
        if name not in dynamodb.list_tables()["TableNames"]:
            dynamodb.create_table(TableName=name, **request)
        if ttl:
            dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=ttl)
        if backups:
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=backups)
        self.done.tables.append(name)
        return Made(name, {"Arn": self.arn("dynamodb", f"table/{name}")})

    def queue(self, resource: Resource, properties: _Properties) -> Made:
        name = self.physical(resource, properties.take("QueueName"))
        attributes: dict[str, str] = {}
        for key in (
            *("DelaySeconds", "MaximumMessageSize", "MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds"),
            *("VisibilityTimeout", "SqsManagedSseEnabled", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"),
        ):
            value = properties.take(key)
            if value is not None:
                attributes[key] = json.dumps(value) if isinstance(value, dict | bool) else str(value)
        properties.ignore("Tags")
        sqs: Any = self.clients.sqs
        try:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if "NonExistentQueue" not in error.response["Error"]["Code"]:
                raise
            url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        self.done.queues.append(name)
        return Made(url, {"Arn": self.arn("sqs", name), "QueueName": name, "QueueUrl": url})

    def queue_policy(self, resource: Resource, properties: _Properties) -> Made:
        policy = json.dumps(properties.need("PolicyDocument"))
        for url in properties.need("Queues"):
            self.clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return Made(resource.name)

    # ------------------------------------------------------------------ compute

    def layer(self, resource: Resource, properties: _Properties) -> Made:
        source = properties.need("Content")["S3Key"]
        folder = self.template.root / self.template.code[source]
        properties.ignore("CompatibleRuntimes", "CompatibleArchitectures", "Description", "LayerName", "LicenseInfo")
        arn = self.arn("lambda", f"layer:{source}:{layer_version(folder)}")
        self.layers[arn] = folder
        return Made(arn, {"LayerVersionArn": arn})

    def function(self, resource: Resource, properties: _Properties) -> Made:
        name = properties.take("FunctionName") or resource.name
        code = self.template.root / self.template.code[properties.need("Code")["S3Key"]]
        # A layer of third-party packages only has no python/ here: those packages come from the interpreter.
        folders = [self.layers[arn] / "python" for arn in properties.take("Layers", [])]
        runtime = properties.need("Runtime")
        if not runtime.startswith("python"):
            raise TemplateError(f"{resource.name} runs on {runtime}, not on Python")
        variables = properties.take("Environment", {}).get("Variables", {})
        arn = self.arn("lambda", f"function:{name}")
        reserved = properties.take("ReservedConcurrentExecutions")
        self.done.functions[resource.name] = Function(
            name=name,
            arn=arn,
            handler=properties.need("Handler"),
            timeout=float(properties.take("Timeout", 3)),
            memory=int(properties.take("MemorySize", 128)),
            environment={key: _text(value) for key, value in variables.items()},
            paths=(code, *(folder for folder in folders if folder.is_dir())),
            concurrency=int(reserved) if reserved is not None else None,
        )
        properties.ignore("Role", "Architectures", "Tags", "Description", "EphemeralStorage", "TracingConfig")
        properties.ignore("LoggingConfig", "DeadLetterConfig", "SnapStart", "RecursiveLoop")
        return Made(name, {"Arn": arn})

    def mapping(self, resource: Resource, properties: _Properties) -> Made:
        source = properties.need("EventSourceArn")
        if ":sqs:" not in source:
            raise TemplateError(f"{resource.name} reads from {source}; only queues are made")
        reports = properties.take("FunctionResponseTypes", [])
        limit = properties.take("ScalingConfig", {}).get("MaximumConcurrency")
        mapping = Mapping(
            name=resource.name,
            function=self.function_of(properties.need("FunctionName")),
            queue=source.rpartition(":")[2],
            batch_size=int(properties.take("BatchSize", 10)),
            window=float(properties.take("MaximumBatchingWindowInSeconds", 0)),
            reports_failures="ReportBatchItemFailures" in reports,
            concurrency=int(limit) if limit is not None else None,
        )
        if properties.take("Enabled", True):
            self.done.mappings.append(mapping)
        properties.ignore("Tags")
        return Made(resource.name)

    def rule(self, resource: Resource, properties: _Properties) -> Made:
        name = properties.take("Name") or resource.name
        arn = self.arn("events", f"rule/{name}")
        expression = properties.need("ScheduleExpression")
        enabled = properties.take("State", "ENABLED") == "ENABLED"
        for target in properties.need("Targets"):
            if extra := target.keys() - {"Arn", "Id", "Input", "RetryPolicy"}:
                raise TemplateError(f"{resource.name} has a target with {', '.join(extra)}")
            function = self.function_of(target["Arn"])
            if enabled:
                entry = Schedule(resource.name, function, expression, arn, "aws.events", target.get("Input"))
                self.done.schedules.append(entry)
        properties.ignore("Description", "Tags")
        return Made(name, {"Arn": arn})

    def schedule(self, resource: Resource, properties: _Properties) -> Made:
        name = properties.take("Name") or resource.name
        arn = self.arn("scheduler", f"schedule/default/{name}")
        target = properties.need("Target")
        if extra := target.keys() - {"Arn", "RoleArn", "Input", "RetryPolicy"}:
            raise TemplateError(f"{resource.name} has a target with {', '.join(extra)}")
        function, expression = self.function_of(target["Arn"]), properties.need("ScheduleExpression")
        if properties.take("State", "ENABLED") == "ENABLED":
            entry = Schedule(resource.name, function, expression, arn, "aws.scheduler", target.get("Input"))
            self.done.schedules.append(entry)
        properties.ignore("Description", "FlexibleTimeWindow")
        return Made(name, {"Arn": arn})

    def function_of(self, reference: str) -> str:
        for logical, function in self.done.functions.items():
            if reference in (function.name, function.arn):
                return logical
        raise TemplateError(f"no function {reference}")

    # ------------------------------------------------------------------ HTTP

    def api(self, resource: Resource, properties: _Properties) -> Made:
        self.done.apis[resource.name] = Api(resource.name, properties.need("Body"))
        properties.ignore("Description", "FailOnWarnings", "Tags", "Name")
        return Made(resource.name, {"ApiId": resource.name, "ApiEndpoint": self.api_url})

    def stage(self, resource: Resource, properties: _Properties) -> Made:
        api = self.done.apis[properties.need("ApiId")]
        if properties.need("StageName") != "$default":
            raise TemplateError(f"{resource.name} is not $default: the base URL would differ from the cloud's")
        api.throttle = _throttle(properties.take("DefaultRouteSettings", {}))
        routes = properties.take("RouteSettings", {})
        api.route_throttles = {route: _throttle(settings) for route, settings in routes.items()}
        properties.ignore("AutoDeploy", "AccessLogSettings", "Description", "Tags")
        return Made("$default")

    def distribution(self, resource: Resource, properties: _Properties) -> Made:
        """The gateway serves what it would: the files of the page, from their folder."""
        properties.ignore("DistributionConfig", "Tags")
        return Made(resource.name, {"Id": resource.name, "DomainName": self.api_url.partition("//")[2]})

    def headers_policy(self, resource: Resource, properties: _Properties) -> Made:
        config = properties.need("ResponseHeadersPolicyConfig")
        headers = _security_headers(resource, config["SecurityHeadersConfig"])
        headers += [(item["Header"].lower(), item["Value"]) for item in config["CustomHeadersConfig"]["Items"]]
        self.done.page_headers = [(name, S3_ORIGIN.sub(self.storage_url, value)) for name, value in headers]
        return Made(resource.name, {"Id": resource.name})


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _throttle(settings: dict[str, Any]) -> Throttle:
    rate, burst = settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit")
    return Throttle(float(rate) if rate is not None else None, int(burst) if burst is not None else None)


S3_ORIGIN = re.compile(r"https://[\w.-]+\.s3\.[\w.-]*amazonaws\.com")


def _security_headers(resource: Resource, settings: dict[str, Any]) -> list[tuple[str, str]]:
    known: dict[str, Callable[[dict[str, Any]], tuple[str, str]]] = {
        "ContentSecurityPolicy": lambda entry: ("content-security-policy", entry["ContentSecurityPolicy"]),
        "ContentTypeOptions": lambda entry: ("x-content-type-options", "nosniff"),
        "FrameOptions": lambda entry: ("x-frame-options", entry["FrameOption"]),
        "ReferrerPolicy": lambda entry: ("referrer-policy", entry["ReferrerPolicy"]),
    }
    # StrictTransportSecurity: the loopback has no TLS
    if unknown := settings.keys() - known.keys() - {"StrictTransportSecurity"}:
        raise TemplateError(f"{resource.name} has unknown headers: {', '.join(sorted(unknown))}")
    return [make(settings[name]) for name, make in known.items() if name in settings]


CORS_NAMES = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}


def _cors_rule(rule: dict[str, Any]) -> dict[str, Any]:
    return {CORS_NAMES.get(name, name): value for name, value in rule.items()}


def _lifecycle_rule(rule: dict[str, Any]) -> dict[str, Any]:
    rest = dict(rule)
    made: dict[str, Any] = {"Status": rest.pop("Status"), "Filter": {"Prefix": rest.pop("Prefix", "")}}
    if "Id" in rest:
        made["ID"] = rest.pop("Id")
    if "ExpirationInDays" in rest:
        made["Expiration"] = {"Days": int(rest.pop("ExpirationInDays"))}
    if "AbortIncompleteMultipartUpload" in rest:
        made["AbortIncompleteMultipartUpload"] = rest.pop("AbortIncompleteMultipartUpload")
    if rest:
        raise TemplateError(f"a lifecycle rule has unknown properties: {', '.join(sorted(rest))}")
    return made


def _queue_notification(entry: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"QueueArn": entry["Queue"], "Events": [entry["Event"]]}
    if "Filter" in entry:
        rules = entry["Filter"]["S3Key"]["Rules"]
        made["Filter"] = {"Key": {"FilterRules": [{"Name": rule["Name"], "Value": rule["Value"]} for rule in rules]}}
    return made


def layer_version(folder: Path) -> int:
    """Another one after any change to the files, or to this interpreter's packages, which stand for the layer's own."""
    digest = hashlib.sha256()
    for package in sorted({f"{found.name}=={found.version}" for found in distributions()}):
        digest.update(f"{package}\0".encode())
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(folder)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return int(digest.hexdigest()[:8], 16)
