#!/usr/bin/env bash
# Build sdist and wheel, and install the wheel into an empty environment, once
# for each commit: tools/package.sh DIST ENVIRONMENT
set -euo pipefail
dist=$1 environment=$2
commit=$(git rev-parse HEAD)
if [ -z "$(git status --porcelain)" ] && [ "$commit" = "$(cat "$environment/commit" 2>/dev/null)" ]; then
    exit
fi
rm -rf "$dist" "$environment"
python -m build --outdir "$dist" . >"$dist.log" 2>&1 || {
    cat "$dist.log"
    exit 1
}
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet \
    "$(ls "$dist"/*.whl)[memcached,mysql,postgresql]" uwsgi granian
echo "$commit" >"$environment/commit"
