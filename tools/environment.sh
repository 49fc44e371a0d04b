#!/usr/bin/env bash
# Make a virtual environment with some packages, once:
# tools/environment.sh FOLDER REQUIREMENT...
set -euo pipefail
folder=$1
shift
stamp=$folder/requirements
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$*" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet "$@"
    echo "$*" >"$stamp"
fi
