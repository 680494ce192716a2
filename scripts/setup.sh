#!/usr/bin/env bash
# Make this folder ready to work in: system packages, .venv, tinymlaas with all extras.
# Safe to repeat; a run that finds everything in place ends within a second and needs no network.
#   PYTHON=python3.12 scripts/setup.sh          choose the interpreter
#   SKIP_SYSTEM_PACKAGES=1 scripts/setup.sh     the toolchains and QEMU are there by other means
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.tinymlaas-setup
readonly EXTRAS=tvm,tflm,quantize,farm,plot,examples,docs,deploy,dev

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# The first interpreter that runs and is new enough; version managers leave shims that do not run.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

has_venv_module() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_system_packages() {
  local extra=()
  local python
  if python=$(find_python); then
    has_venv_module "$python" || extra=(python3-venv)
  elif [ -z "${PYTHON:-}" ] && ! command -v python3 >/dev/null; then
    extra=(python3 python3-venv)
  fi
  scripts/system-packages.sh ${extra[@]+"${extra[@]}"}
}

# Whatever decides what is in .venv. The folder's own path is in it because a virtual environment
# that was moved or copied still points at the old place.
fingerprint() {
  { pwd && sha256sum pyproject.toml constraints.txt scripts/*.sh scripts/system-packages.txt; } |
    sha256sum | cut -d' ' -f1
}

venv_is_ours() {
  [ -x $VENV/bin/python ] && $VENV/bin/python -c 'import pip' 2>/dev/null &&
    head -n 1 $VENV/bin/pip | grep -qF "$PWD/$VENV/bin/"
}

is_ready() {
  [ -f $STAMP ] && [ "$(cat $STAMP)" = "$(fingerprint)" ] && venv_is_ours &&
    [ -x $VENV/bin/tinymlaas ]
}

create_venv() {
  venv_is_ours && return
  local python
  python=$(find_python) || die "Python 3.11 or newer is needed${PYTHON:+, $PYTHON is not};" \
    "found: $(python3 --version 2>/dev/null || echo none)." \
    "Install one, or name it: PYTHON=/path/to/python3 make test"
  has_venv_module "$python" ||
    die "$python has no venv or ensurepip module; install its -venv package" \
      "(apt-get install $(basename "$(readlink -f "$(command -v "$python")")")-venv)"
  say "creating $VENV with $("$python" --version)"
  "$python" -m venv --clear $VENV >&2 || die "could not create $VENV with $python"
}

# Its own requirements pin an old onnxruntime; those that matter are in the extra `quantize`.
install_onnx2tf() {
  "$VENV/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || return 0
  "$@" --no-deps onnx2tf
}

# The build back end comes first, so that the editable install needs no isolated build.
install_python_packages() {
  say "installing Python packages (a few minutes the first time)"
  export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
  local pip=("$VENV/bin/python" -m pip install --quiet --constraint constraints.txt)
  {
    "${pip[@]}" hatchling editables &&
      "${pip[@]}" --no-build-isolation --editable ".[$EXTRAS]" &&
      install_onnx2tf "${pip[@]}"
  } >&2 || die "pip could not install the packages; see its message above"
}

main() {
  mkdir -p .cache
  exec 9>.cache/setup.lock
  flock 9 # two makes at once must not build one .venv
  [ -n "${SKIP_SYSTEM_PACKAGES:-}" ] || install_system_packages
  if ! is_ready; then
    rm -f $STAMP
    create_venv
    install_python_packages
    fingerprint >$STAMP
    say "ready: $VENV/bin/tinymlaas"
  fi
}

main
