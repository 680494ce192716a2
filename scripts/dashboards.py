"""Generate Grafana's dashboards and Prometheus' rules, with their tests, from deploy/*/*.py.

scripts/dashboards.py                     write the files that are checked in
scripts/dashboards.py --check             fail if one of them is not up to date
scripts/dashboards.py --out DIR --docs-url URL --grafana-url URL
write them with links to your own site and Grafana
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deploy.grafana.book import BOOK  # noqa: E402
from deploy.grafana.build import text_of  # noqa: E402
from deploy.prometheus import alerts, cases, recording  # noqa: E402
from deploy.prometheus.alerts import Links  # noqa: E402
from deploy.prometheus.rule import document  # noqa: E402


def files(links: Links) -> Iterator[tuple[str, str]]:
    """Yield path below deploy/ and content of each generated file."""
    for board in BOOK.boards:
        yield f"grafana/dashboards/{board.uid}.json", text_of(board, BOOK)
    groups = {"groups": [each.data() for each in recording.GROUPS]}
    yield "prometheus/rules/recording.yaml", document("Recording rules of a farm.", groups)
    groups = {"groups": [each.data() for each in alerts.groups(links)]}
    yield "prometheus/rules/alerts.yaml", document("Alerting rules of a farm.", groups)
    about = "Each alert firing and silent: promtool test rules FILE"
    for pace in cases.MINUTES:
        yield f"prometheus/tests/{pace}.yaml", document(about, cases.tests(links, pace))


def main() -> int:
    """Write or check the files; return the process's status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if outdated")
    parser.add_argument("--out", type=Path, default=ROOT / "deploy", help="instead of deploy/")
    parser.add_argument("--docs-url", default=Links.docs, help="where docs/ is published")
    parser.add_argument("--grafana-url", default=Links.grafana, help="where Grafana is")
    asked = parser.parse_args()
    links = Links(asked.docs_url.rstrip("/"), asked.grafana_url.rstrip("/"))
    outdated = []
    for name, text in files(links):
        path = asked.out / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        outdated.append(name)
        if not asked.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if asked.check and outdated:
        print(f"not up to date: {', '.join(outdated)}; run make dashboards", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        sys.exit(f"error: cannot write {error.filename}: {error.strerror}")
