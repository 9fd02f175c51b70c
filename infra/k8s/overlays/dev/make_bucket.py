"""Make the bucket that MLFLOW_ARTIFACTS_DESTINATION names, unless it is there. Runs in MLflow's image.

AWS_ENDPOINT_URL_S3 says where, as it does to MLflow.
"""

import os
from urllib.parse import urlsplit

from botocore.session import get_session

bucket = urlsplit(os.environ["MLFLOW_ARTIFACTS_DESTINATION"]).netloc
store = get_session().create_client("s3")
if bucket not in [found["Name"] for found in store.list_buckets()["Buckets"]]:
    store.create_bucket(Bucket=bucket)
