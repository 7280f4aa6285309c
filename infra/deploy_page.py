"""`python -m infra.deploy_page --stack NAME`: web/ to page/ in the stack's bucket, where CloudFront reads it.

Guarantees: the page and the API that its config.json names belong to one stack; what web/ has no more is deleted; the
next visitor gets the new files. A stack without a page (`Page=off`) is left as it is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3

from infra.local.page import CACHE_CONTROL, CONFIG, CONTENT_TYPES, FOLDER, files

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "page/"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy_page", description=__doc__)
    parser.add_argument("--stack", default="tessera", help="of CloudFormation (default: tessera)")
    options = parser.parse_args(arguments)
    session = boto3.Session()
    outputs = outputs_of(session.client("cloudformation"), options.stack)
    if "PageUrl" not in outputs:
        print("This stack has no page (Page=off).")
        return 0
    upload(session.client("s3"), outputs["Bucket"], FOLDER, outputs["ApiUrl"])
    refresh(session.client("cloudfront"), outputs["PageDistribution"])
    print(f"Page  {outputs['PageUrl']}")
    return 0


def outputs_of(cloudformation: Any, stack: str) -> Mapping[str, str]:
    answer = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in answer["Outputs"]}


def upload(s3: S3Client, bucket: str, folder: Path, api_url: str) -> None:
    """index.html last: it never names a file that is not there yet."""
    found = files(folder)
    for name in sorted(found, key=lambda name: name == "index.html"):
        body = json.dumps({"api": api_url}).encode() if name == CONFIG else found[name].read_bytes()
        kind = CONTENT_TYPES[found[name].suffix]
        s3.put_object(Bucket=bucket, Key=PREFIX + name, Body=body, ContentType=kind, CacheControl=CACHE_CONTROL)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = (entry["Key"] for page in pages for entry in page.get("Contents", ()))
    for key in keys:
        if key.removeprefix(PREFIX) not in found:
            s3.delete_object(Bucket=bucket, Key=key)


def refresh(cloudfront: Any, distribution: str) -> None:
    batch = {"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": str(time.time_ns())}
    cloudfront.create_invalidation(DistributionId=distribution, InvalidationBatch=batch)


if __name__ == "__main__":
    sys.exit(main())
