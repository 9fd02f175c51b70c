"""Make the bucket that MLFLOW_ARTIFACTS_DESTINATION names, unless it is there. Runs in MLflow's image."""

import os
from urllib.parse import urlsplit

from botocore.session import get_session

bucket = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
store = get_session().create_client(
    "s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"], region_name=os.environ["AWS_DEFAULT_REGION"]
)
if bucket not in [found["Name"] for found in store.list_buckets()["Buckets"]]:
    store.create_bucket(Bucket=bucket)
