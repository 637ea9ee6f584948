#!/usr/bin/env bash
# Run every test, or those that pytest's arguments name. The first run installs what is needed into .venv.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
prepare dev
exec .venv/bin/python -m pytest "$@"
