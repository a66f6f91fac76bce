#!/bin/bash
# The MLflow server of compose.yaml. Passwords come from files, so that neither a command line nor
# `docker inspect` shows them; the server starts with none of them empty.
set -euo pipefail
umask 077

secrets=${SECRETS:-/run/secrets}
secret() {
  local value
  value=$(< "$secrets/$1")
  [[ -n $value ]] || { echo "mlflow_server: secret $1 is empty; fill in .env" >&2; return 1; }
  printf '%s' "$value"
}

PGPASSWORD=$(secret postgres_password) # libpq reads it: it is in no address, so in no log either
AWS_SECRET_ACCESS_KEY=$(secret s3_secret_key)
MLFLOW_AUTH_ADMIN_PASSWORD=$(secret mlflow_admin_password)
MLFLOW_FLASK_SERVER_SECRET_KEY=$(secret mlflow_secret_key)
export PGPASSWORD AWS_SECRET_ACCESS_KEY MLFLOW_AUTH_ADMIN_PASSWORD MLFLOW_FLASK_SERVER_SECRET_KEY

# Users and permissions lie in the same database, under tables of their own.
export MLFLOW_AUTH_CONFIG_PATH=${TMPDIR:-/tmp}/auth.ini
cat > "$MLFLOW_AUTH_CONFIG_PATH" << INI
[mlflow]
default_permission = READ
database_uri = $MLFLOW_BACKEND_STORE_URI
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
grant_default_workspace_access = false
INI

python - << 'PYTHON'
import os

import boto3

bucket = os.environ["MLFLOW_ARTIFACTS_DESTINATION"].removeprefix("s3://").partition("/")[0]
s3 = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
if bucket not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
    s3.create_bucket(Bucket=bucket)
PYTHON

exec mlflow server "$@"
