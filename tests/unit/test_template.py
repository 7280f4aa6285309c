"""What linters do not see in template.yaml, and what must agree with other files."""

from __future__ import annotations

import json
import tomllib
from graphlib import TopologicalSorter
from typing import Any

import pytest
from tessera.metrics import NAMESPACE, Metric
from tessera.settings import Settings
from tessera.table import DUE_FACTS

from tests.world import ROOT, template

RESOURCES: dict[str, Any] = template()["Resources"]
QUEUES = {name: made["Properties"] for name, made in RESOURCES.items() if made["Type"] == "AWS::SQS::Queue"}
FUNCTIONS = {name: made["Properties"] for name, made in RESOURCES.items() if made["Type"].endswith("::Function")}
GLOBALS: dict[str, Any] = template()["Globals"]["Function"]


def references(value: Any) -> set[str]:
    """Logical ids that a value names."""
    found: set[str] = set()
    if isinstance(value, dict):
        for name, inner in value.items():
            if name in ("Ref", "Fn::Ref"):
                found.add(inner)
            elif name == "Fn::GetAtt":
                found.add(inner.split(".")[0] if isinstance(inner, str) else inner[0])
            elif name == "DependsOn":
                found |= {inner} if isinstance(inner, str) else set(inner)
            elif name == "Fn::Sub":
                found |= {part.split("}")[0].split(".")[0] for part in str(inner).split("${")[1:]}
            else:
                found |= references(inner)
    elif isinstance(value, list):
        for inner in value:
            found |= references(inner)
    return found & RESOURCES.keys()


def test_resources_depend_on_each_other_without_a_cycle() -> None:
    TopologicalSorter({name: references(made) - {name} for name, made in RESOURCES.items()}).prepare()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_message_is_not_seen_twice_while_it_is_handled(name: str) -> None:
    function = FUNCTIONS[name]
    timeout = function.get("Timeout", GLOBALS["Timeout"])
    for event in function["Events"].values():
        if event["Type"] == "SQS":
            (queue,) = references(event)
            times = 1 if queue == "JobQueue" else 6  # a job is received once only
            assert QUEUES[queue]["VisibilityTimeout"] >= times * timeout


@pytest.mark.parametrize("name", [name for name in QUEUES if not name.endswith("DeadLetters")])
def test_every_queue_has_a_place_for_dead_letters(name: str) -> None:
    (target,) = references(QUEUES[name]["RedrivePolicy"])
    assert target.endswith("DeadLetters")
    assert QUEUES[name].get("MessageRetentionPeriod", 345_600) <= QUEUES[target]["MessageRetentionPeriod"]


def test_a_job_is_received_once_only() -> None:
    assert QUEUES["JobQueue"]["RedrivePolicy"]["maxReceiveCount"] == 1


def test_the_bucket_waits_for_the_policy_that_lets_it_send_events() -> None:
    assert RESOURCES["Bucket"]["DependsOn"] == ["UploadEventPolicy", "ResultEventPolicy"]


def test_the_worker_has_no_permission() -> None:
    assert "Policies" not in FUNCTIONS["UpscaleWorkerFunction"]


def test_repeats_are_answered_by_the_engine_and_the_settings_that_made_them() -> None:
    dispatch, worker = (
        FUNCTIONS[name]["Environment"]["Variables"] for name in ("DispatchFunction", "UpscaleWorkerFunction")
    )
    assert dispatch["TESSERA_STAND_IN"] == worker["TESSERA_STAND_IN"]
    assert [dispatch["TESSERA_ENGINE"]] == FUNCTIONS["UpscaleWorkerFunction"]["Layers"]
    reuse = template()["Parameters"]["Reuse"]
    assert reuse["Default"] == "on"
    read = [
        Settings(table="t", bucket="b", work_queue_url="q", reuse=word).reuse  # type: ignore[arg-type]
        for word in reuse["AllowedValues"]
    ]
    assert read == [True, False]


@pytest.mark.parametrize(("layer", "group"), [("dependencies", "api"), ("engine", "engine"), ("modal", "modal")])
def test_layers_hold_what_is_tested_here(layer: str, group: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert (ROOT / "layers" / layer / "requirements.txt").read_text().split() == groups[group]


def test_the_table_of_the_tests_is_the_table_of_the_template() -> None:
    indexes = RESOURCES["Table"]["Properties"]["GlobalSecondaryIndexes"]
    assert {index["IndexName"] for index in indexes} == {"history", "due"}
    assert RESOURCES["Table"]["Properties"]["TimeToLiveSpecification"]["Enabled"] is True
    (due,) = (index for index in indexes if index["IndexName"] == "due")
    assert tuple(due["Projection"]["NonKeyAttributes"]) == DUE_FACTS


def test_a_direct_upload_fits_into_lambdas_payload() -> None:
    from tessera.http import MAX_BODY

    in_base64 = -(-MAX_BODY // 3) * 4
    assert in_base64 + 64 * 1024 < 6_291_556  # Lambda's own number for synchronous calls


def test_only_those_that_talk_to_modal_have_its_client_its_token_and_its_settings() -> None:
    speakers = {"DispatchFunction", "WatchdogFunction"}
    for name, function in FUNCTIONS.items():
        statements = [statement for policy in function.get("Policies", []) for statement in policy["Statement"]]
        variables = function.get("Environment", {}).get("Variables", {})
        assert ("ModalLayer" in references(function.get("Layers", []))) == (name in speakers)
        assert any("${ModalSecret}" in str(statement) for statement in statements) == (name in speakers)
        assert (variables.get("MODAL_PAYLOAD_FORMAT") == "cbor") == (name in speakers)
        assert ("MODAL_MAX_THROTTLE_WAIT" in variables) == (name in speakers)


ALARMS = {name: made["Properties"] for name, made in RESOURCES.items() if made["Type"] == "AWS::CloudWatch::Alarm"}


def watched(*metrics: str) -> set[str]:
    """Queues of which an alarm watches one of these metrics."""
    found = [alarm["Dimensions"] for alarm in ALARMS.values() if alarm.get("MetricName") in metrics]
    return set().union(*map(references, found))


@pytest.mark.parametrize("name", QUEUES)
def test_every_queue_has_an_alarm_and_is_on_the_dashboard(name: str) -> None:
    metric = "ApproximateNumberOfMessagesVisible" if name.endswith("DeadLetters") else "ApproximateAgeOfOldestMessage"
    assert name in watched(metric)
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    assert ["AWS/SQS", metric, "QueueName", f"${{{name}.QueueName}}"] in [
        row[:4] for widget in body["widgets"] for row in widget["properties"]["metrics"]
    ]


@pytest.mark.parametrize("metric", ["Errors", "Throttles"])
def test_every_functions_errors_and_throttles_are_watched(metric: str) -> None:
    alarms = [
        [query["MetricStat"]["Metric"] for query in alarm["Metrics"] if "MetricStat" in query]
        for alarm in ALARMS.values()
        if metric in (query.get("Label") for query in alarm.get("Metrics", ()))
    ]
    assert all(query["MetricName"] == metric for queries in alarms for query in queries)
    names = [name for queries in alarms for query in queries for name in references(query)]
    assert sorted(names) == sorted(FUNCTIONS)
    assert all(len(queries) <= 10 for queries in alarms)  # CloudWatch: of one expression's metrics


def test_every_metric_that_is_watched_or_shown_is_one_that_the_code_tells() -> None:
    alarms = {alarm["MetricName"] for alarm in ALARMS.values() if alarm.get("Namespace") == NAMESPACE}
    body = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    rows = [row for widget in body["widgets"] for row in widget["properties"]["metrics"] if row[0] == NAMESPACE]
    assert all(row[2:4] == ["service", "${AWS::StackName}"] for row in rows)
    assert alarms <= {row[1] for row in rows} == set(Metric)
    told = "".join(
        file.read_text() for folder in ("layers/core", "functions") for file in (ROOT / folder).rglob("*.py")
    )
    assert all(told.count(f"Metric.{metric.name}:") for metric in Metric)


def test_metrics_and_alarms_name_the_deployment_alike() -> None:
    assert GLOBALS["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"] == {"Fn::Ref": "AWS::StackName"}
    for alarm in ALARMS.values():
        if alarm.get("Namespace") == NAMESPACE:
            assert alarm["Dimensions"] == [{"Name": "service", "Value": {"Fn::Ref": "AWS::StackName"}}]


def test_one_log_group_keeps_what_all_functions_say_for_a_time() -> None:
    assert references(GLOBALS["LoggingConfig"]) == {"Logs"}
    assert not any("LoggingConfig" in function for function in FUNCTIONS.values())
    assert RESOURCES["Logs"]["Properties"]["RetentionInDays"] == {"Fn::Ref": "LogRetentionDays"}


def test_the_audit_alone_scans_the_table_and_writes_nothing() -> None:
    scans = {name for name, function in FUNCTIONS.items() if "dynamodb:Scan" in str(function.get("Policies"))}
    assert scans == {"AuditFunction"}
    (statement,) = FUNCTIONS["AuditFunction"]["Policies"][0]["Statement"]
    assert set(statement["Action"]) == {"dynamodb:GetItem", "dynamodb:Query", "dynamodb:Scan"}


def test_nobody_has_to_be_told() -> None:
    assert template()["Parameters"]["AlarmEmail"]["Default"] == ""
    assert RESOURCES["AlarmsByEmail"]["Condition"] == "SomebodyIsTold"


def test_dead_letters_that_nobody_reads_raise_an_alarm() -> None:
    alarms = [made["Properties"] for made in RESOURCES.values() if made["Type"] == "AWS::CloudWatch::Alarm"]
    watched = set().union(*(references(alarm.get("Dimensions", [])) for alarm in alarms))
    read = {
        queue for function in FUNCTIONS.values() for event in function["Events"].values() for queue in references(event)
    }
    assert {name for name in QUEUES if name.endswith("DeadLetters")} - read <= watched
    assert all(references(alarm["AlarmActions"]) == {"Alarms"} for alarm in alarms)
