"""What a person reads of signing keys."""

from __future__ import annotations

from rich import box
from rich.table import Table

from tinymlaas.contract.key_report import KeysReport

_BUILDER = "urn:tinymlaas:builder:"


def keys(report: KeysReport) -> Table:
    """Return the table of keys, in 80 columns: one line each, and how it stands in words."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("key", no_wrap=True)
    table.add_column("builder")
    table.add_column("since", no_wrap=True)
    table.add_column("how it stands")
    for row in report.keys:
        builders = [each.removeprefix(_BUILDER).removesuffix(":v1") for each in row.builders]
        here = " (key is here)" if row.signs_here else ""
        since = "–" if row.since is None else row.since[:10]
        table.add_row(row.fingerprint[:16], ", ".join(builders), since, row.standing + here)
    return table


def keyring(report: KeysReport) -> str:
    """Return the line about the keyring itself."""
    if report.keyring is None:
        return "no keyring yet: others verify with your public key (tinymlaas keys show)"
    count = "1 key" if report.threshold == 1 else f"{report.threshold} distinct keys"
    return (
        f"{report.keyring}: version {report.version}, a module needs {count}; "
        f"its root is {report.root}"
    )
