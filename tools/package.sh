#!/usr/bin/env bash
# Build sdist and wheel, and install the wheel into an empty environment:
# tools/package.sh DIST ENVIRONMENT
set -euo pipefail
dist=$1 environment=$2
rm -rf "$dist" "$environment"
python -m build --outdir "$dist" . >"$dist.log" 2>&1 || {
    cat "$dist.log"
    exit 1
}
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet \
    "$(ls "$dist"/*.whl)[mysql,postgresql]" uwsgi granian
