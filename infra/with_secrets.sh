#!/bin/sh
# Run a command whose secrets lie in files: for each variable NAME_FILE that names one in /run/secrets (or $SECRETS),
# NAME is set to what the file holds. So secrets are in no compose file, no image and no `docker inspect`.
set -eu
for name in $(env | sed -n 's/^\([A-Z][A-Z0-9_]*\)_FILE=.*/\1/p'); do
  eval "path=\$${name}_FILE"
  case $path in "${SECRETS:-/run/secrets}"/*) ;; *) continue ;; esac
  if [ ! -r "$path" ]; then
    echo "$0: the secret of $name cannot be read. Make it with infra/make_secrets.sh. Received: $path" >&2
    exit 1
  fi
  export "$name=$(cat "$path")"
done
exec "$@"
