#!/usr/bin/env bash
# Ask for known holes of what the service needs; where nobody can be asked, say
# so.
set -euo pipefail
index=https://pypi.org/pypi/pip/json
if ! python -c "import requests; requests.get('$index', timeout=10).raise_for_status()" 2>/dev/null; then
    echo "pip-audit: $index can't be reached, so nothing was asked"
    exit
fi
pip-audit --requirement requirements.txt
