"""Handlers of the tiny template: what each does is in its name."""

import base64
import json
import os
import subprocess
import sys
import time

import boto3
import tiny_layer


def web(event, context):
    path = event["rawPath"]
    if path == "/echo":
        return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(event)}
    if path == "/binary":
        body = base64.b64encode(bytes(range(256))).decode()
        headers = {"content-type": "image/png", "access-control-allow-origin": "http://evil.example"}
        return {"statusCode": 201, "headers": headers, "cookies": ["a=1", "b=2"], "body": body, "isBase64Encoded": True}
    if path == "/plain":
        return {"greeting": tiny_layer.GREETING, "shade": os.environ["SHADE"]}
    if path == "/raise":
        raise ValueError("on purpose")
    if path == "/exit":
        os._exit(3)
    if path == "/large":
        return {"statusCode": 200, "body": "x" * 7_000_000}
    if path.startswith("/sleep/"):
        time.sleep(float(path.rpartition("/")[2]))
        return {"statusCode": 200, "body": "slept"}
    if path.startswith("/item/"):
        return {"statusCode": 200, "body": json.dumps(event.get("pathParameters"))}
    return {"statusCode": 200, "body": "default " + event["routeKey"]}


def work(event, context):
    """Says what to do with each message in its body; notes every delivery in the table."""
    failures = []
    for record in event["Records"]:
        told = json.loads(record["body"])
        if "Records" not in told and "Event" not in told:
            note(f"{told['name']}#{record['attributes']['ApproximateReceiveCount']}")
            if told.get("sleep"):
                time.sleep(told["sleep"])
            if told.get("fail"):
                failures.append({"itemIdentifier": record["messageId"]})
            if told.get("raise"):
                raise RuntimeError("on purpose")
    return {"batchItemFailures": failures}


def slow(event, context):
    """Outlives its time-out of 2 s if told so, together with a child process."""
    if event.get("child"):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(f"child#{child.pid}")
        time.sleep(600)
    time.sleep(event.get("sleep", 0))
    return {"pid": os.getpid(), "left": context.get_remaining_time_in_millis(), "id": context.aws_request_id}


def tick(event, context):
    note("tick#" + json.dumps(event))


def note(text):
    boto3.client("dynamodb").put_item(TableName=os.environ["TABLE"], Item={"pk": {"S": text}})
