from __future__ import annotations

import pytest

from tests.unit.observing.promql import names, selectors


@pytest.mark.parametrize(
    ("expr", "found"),
    [
        ("up", {"up"}),
        ('sum by (pool) (rate(a_total{pool="b_total", x=~"c"}[5m])) > 0', {"a_total"}),
        ("sum(rate(a[5m])) by (b) / on (c) group_left (d) e offset 1h", {"a", "e"}),
        ("a and on (job) b == 1 or vector(0) unless c", {"a", "b", "c"}),
        ("level:a:rate5m{slo='x'} > 14.4e-2 and deriv(b[30m:1m]) < Inf", {"level:a:rate5m", "b"}),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
    ],
)
def test_the_metrics_of_an_expression(expr: str, found: set[str]) -> None:
    assert names(expr) == found


def test_the_labels_of_a_selector() -> None:
    assert list(selectors('a{b="c,d=", e!~"f"} + g')) == [("a", {"b", "e"}), ("g", set())]


def test_what_is_no_promql_is_told() -> None:
    with pytest.raises(ValueError, match="no PromQL"):
        names("a ? b")
