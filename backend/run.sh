#!/usr/bin/env bash
# Start the service: ./backend/run.sh [--once] […]. The first run installs what is needed into .venv.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"
prepare
exec .venv/bin/python -m backend serve "$@"
