#!/bin/sh
# Make the passwords and keys of infra/compose.yaml that are missing, at random, in infra/secrets/. Those that exist
# stay. Only you can enter the folder; the files can be read by whoever a container runs as, once they are mounted.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
put() {
  if [ -e "secrets/$1" ]; then return; fi
  cat > "secrets/.$1.new"
  chmod 444 "secrets/.$1.new"
  mv "secrets/.$1.new" "secrets/$1"
  echo "made infra/secrets/$1"
}
for name in postgres_password mlflow_admin_password mlflow_reader_password mlflow_secret_key s3_access_key \
  s3_secret_key grafana_admin_password; do
  random | put "$name"
done
# The store's own form of its one account.
put s3.json << END
{
  "identities": [
    {
      "name": "galmorph",
      "credentials": [{ "accessKey": "$(cat secrets/s3_access_key)", "secretKey": "$(cat secrets/s3_secret_key)" }],
      "actions": ["Admin", "Read", "Write", "List", "Tagging"]
    }
  ]
}
END
