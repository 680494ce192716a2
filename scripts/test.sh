#!/usr/bin/env bash
# Everything a change must pass, cheapest first; stops at the first failure.
#   --all   with the tests marked slow          --lint   without pytest
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

select=(-m "not slow")
lint_only=
for argument in "$@"; do
  case $argument in
    --all) select=() ;;
    --lint) lint_only=yes ;;
    *) echo "test.sh: unknown argument $argument (--all, --lint)" >&2 && exit 2 ;;
  esac
done

step() {
  printf '== %s\n' "$*"
  "$@"
}

step .venv/bin/ruff check .
step .venv/bin/ruff format --check .
step .venv/bin/mypy
step .venv/bin/mypy --follow-imports=silent --explicit-package-bases scripts examples/digits/demo.py \
  benchmarks/farm.py benchmarks/farm_figures/*.py benchmarks/sizing.py
step .venv/bin/mypy --follow-imports=silent --explicit-package-bases deploy/*.py deploy/check
step .venv/bin/mypy --follow-imports=silent --explicit-package-bases deploy/grafana deploy/prometheus
step .venv/bin/lint-imports
step .venv/bin/python scripts/schemas.py --check
step .venv/bin/python scripts/boards_table.py --check
step .venv/bin/python scripts/operators_table.py --check
step .venv/bin/python scripts/dashboards.py --check
step .venv/bin/python -m scripts.reference --check
step scripts/docs_site.sh
step .venv/bin/python -m deploy.check
[ -z "$lint_only" ] || exit 0
# One more than there are processors: many tests wait for a broker, a drain or a lease.
step .venv/bin/pytest -n 3 --durations=25 ${select[@]+"${select[@]}"}
