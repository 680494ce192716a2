#!/usr/bin/env bash
# Builds the documentation as a site into out/site and checks its links. Needs no network.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The theme's notice about a next MkDocs is nothing that a reader of our log could act on.
# Not --quiet: what it does not say --strict does not count.
NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
.venv/bin/python scripts/docs_links.py --site
