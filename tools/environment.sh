#!/usr/bin/env bash
# Make a virtual environment with some packages, once:
# tools/environment.sh FOLDER REQUIREMENT...
set -euo pipefail
folder=$1
shift
stamp=$folder/requirements
wanted=$*
if [[ " $wanted " == *" --editable "* ]]; then
    # What setup.cfg says of entry points is read when it is installed.
    cd "$(dirname "$0")/.."
    wanted+=" $(cat setup.cfg requirements.txt | cksum)"
fi
if [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    # It installs in a tenth of pip's time.
    "$folder/bin/pip" install --quiet uv
    "$folder/bin/uv" pip install --quiet --python "$folder/bin/python" "$@"
    echo "$wanted" >"$stamp"
fi
