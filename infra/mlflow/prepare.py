"""Make what a new tracking server lacks: buckets, and an account that may only read. Doing it again changes nothing.

It runs in the image `mlflow`, as MLflow's administrator, with these variables beside MLflow's and boto3's own:
`BUCKETS` (names, parted by spaces), `MLFLOW_READER_USERNAME` and `MLFLOW_READER_PASSWORD`.
"""

import os
from typing import Any

import boto3
from botocore.exceptions import ClientError
from mlflow.exceptions import RestException
from mlflow.server.auth.client import AuthServiceClient


def make_bucket(store: Any, name: str) -> None:
    """Make a bucket unless it is there."""
    try:
        store.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        store.create_bucket(Bucket=name)
        print(f"made the bucket {name}")


def make_account(server: AuthServiceClient, name: str, password: str) -> None:
    """Make an account, or give it this password where it exists."""
    try:
        server.create_user(name, password)
    except RestException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        server.update_user_password(name, password)
    else:
        print(f"made the account {name}")


if __name__ == "__main__":
    for bucket in os.environ["BUCKETS"].split():
        make_bucket(boto3.client("s3"), bucket)
    make_account(
        AuthServiceClient(os.environ["MLFLOW_TRACKING_URI"]),
        os.environ["MLFLOW_READER_USERNAME"],
        os.environ["MLFLOW_READER_PASSWORD"],
    )
