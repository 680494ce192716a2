"""Who is let in."""

from __future__ import annotations

import time

import pytest

from tests.unit.status.facts import TOKEN, Farm
from tinymlaas.contract.errors import UsageError
from tinymlaas.status.access import (
    FROM_VARIABLE,
    HEADER_VARIABLE,
    SESSION_SECONDS,
    TOKEN_VARIABLE,
    Access,
    Guard,
    from_environment,
)
from tinymlaas.status.http import Answer, Request

BY_PROXY = from_environment(
    {HEADER_VARIABLE: "X-Forwarded-User", FROM_VARIABLE: "10.1.0.0/16, fd00::/8"}
)


def test_with_nothing_set_the_page_is_off() -> None:
    assert from_environment({}) is None
    assert from_environment({TOKEN_VARIABLE: " "}) is None


def test_what_is_wrong_is_named_all_together() -> None:
    with pytest.raises(UsageError) as error:
        from_environment(
            {TOKEN_VARIABLE: "short", HEADER_VARIABLE: "X User", FROM_VARIABLE: "10.0.0.1/8"}
        )
    assert [reason.split()[0] for reason in error.value.reasons] == [
        TOKEN_VARIABLE,
        HEADER_VARIABLE,
        FROM_VARIABLE,
    ]
    assert "short" not in str(error.value), "a token is not repeated"


@pytest.mark.parametrize("one", [{HEADER_VARIABLE: "X-User"}, {FROM_VARIABLE: "10.0.0.0/8"}])
def test_a_header_without_the_networks_it_comes_from_opens_nothing(one: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="go together"):
        from_environment(one)


@pytest.mark.parametrize("path", ["/", "/jobs/acme/job-0", "/tenants/acme", "/jobs", "/nothing"])
@pytest.mark.parametrize(
    "headers",
    [
        {"x": "y"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": "Bearer "},
        {"cookie": f"tinymlaas_status={TOKEN}"},
        {"cookie": f"tinymlaas_status=99999999999.{'0' * 64}"},
        {"cookie": "=;=;"},
        {"x_forwarded_user": "root"},
    ],
)
def test_strangers_see_nothing(path: str, headers: dict[str, str]) -> None:
    farm = Farm()
    answer = farm.get(path, **headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    browser = farm.get(path, accept="text/html", **headers)
    assert browser.status == 303
    assert browser.headers["Location"].startswith("/login")
    assert not farm.questions, "nobody is asked for a stranger"


def test_the_token_opens_it() -> None:
    assert Farm().get("/").status == 200


def sign_in(farm: Farm, token: str, wanted: str = "/jobs/acme/job-0", **headers: str) -> Answer:
    body = f"next={wanted}&token={token}&username=x".encode()
    return farm.site.answer(Request("POST", "/login", "", headers, body=body))


def test_a_browser_signs_in_by_a_form_and_out_again() -> None:
    farm = Farm()
    form = farm.get("/login?next=/tenants/acme", accept="text/html")
    assert form.status == 200
    assert isinstance(form.body, bytes)
    assert b'value="/tenants/acme"' in form.body
    answer = sign_in(farm, TOKEN)
    assert (answer.status, answer.headers["Location"]) == (303, "/jobs/acme/job-0")
    cookie = answer.headers["Set-Cookie"]
    assert "; HttpOnly; SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert "Secure" not in cookie
    kept = cookie.partition(";")[0]
    again = farm.get("/login?next=/tenants/acme", cookie=kept)
    assert again.headers["Location"] == "/tenants/acme", "who is signed in needs no form"
    shown = farm.get("/", cookie=f"other=1; {kept}")
    assert shown.status == 200
    assert isinstance(shown.body, bytes)
    assert b"Sign out" in shown.body
    gone = farm.get("/logout", method="POST", cookie=kept)
    assert gone.headers["Set-Cookie"].startswith("tinymlaas_status=; Max-Age=0")
    changed = kept[:-1] + ("0" if kept[-1] != "0" else "1")
    assert farm.get("/", cookie=changed).status == 401


def test_behind_https_the_cookie_never_leaves_it() -> None:
    answer = sign_in(Farm(), TOKEN, **{"x-forwarded-proto": "https"})
    assert answer.headers["Set-Cookie"].endswith("; Secure")


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "%00", "ü"])
def test_a_wrong_token_is_told_so_and_gets_no_cookie(token: str) -> None:
    answer = sign_in(Farm(), token)
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers
    assert isinstance(answer.body, bytes)
    assert b"This is not the token." in answer.body


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https://evil.example", "/login", "/jobs/../x"]
)
def test_nobody_is_sent_elsewhere_after_signing_in(wanted: str) -> None:
    assert sign_in(Farm(), TOKEN, wanted).headers["Location"] == "/"


@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_forms_of_other_sites_do_nothing(path: str) -> None:
    farm = Farm()
    body = f"token={TOKEN}".encode()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 303)):
        asked = Request("POST", path, headers={"sec-fetch-site": site}, body=body)
        answer = farm.site.answer(asked)
        assert answer.status == status
        assert ("Set-Cookie" in answer.headers) == (status == 303)


def test_a_session_ends_and_with_another_token_so_do_all() -> None:
    now = 1_000_000.0
    guard = Guard(Access(token=TOKEN), lambda: now)
    cookie = guard.cookie(Request("GET", "/")).partition(";")[0]
    asked = Request("GET", "/", headers={"cookie": cookie})
    assert guard.visitor(asked) is not None
    assert Guard(Access(token=TOKEN + "2"), lambda: now).visitor(asked) is None
    now += SESSION_SECONDS + 1
    assert guard.visitor(asked) is None


@pytest.mark.parametrize(
    ("peer", "header", "status"),
    [
        ("10.1.2.3", "ann", 200),
        ("::ffff:10.1.2.3", "ann", 200),
        ("fd00::1", "ann", 200),
        ("10.2.0.1", "ann", 403),
        ("127.0.0.1", "ann", 403),
        ("10.1.2.3", " ", 403),
        ("nonsense", "ann", 403),
    ],
)
def test_a_proxys_header_counts_from_its_network_alone(peer: str, header: str, status: int) -> None:
    farm = Farm(BY_PROXY)
    answer = farm.get("/", peer=peer, x_forwarded_user=header)
    assert answer.status == status
    if status == 200:
        assert isinstance(answer.body, bytes)
        assert b"signed in as <bdi>ann</bdi>" in answer.body
        assert b"Sign out" not in answer.body


def test_a_name_is_shown_as_it_is_written() -> None:
    for sent in ("jörg".encode().decode("iso-8859-1"), "jörg"):  # some send the one, some the other
        answer = Farm(BY_PROXY).get("/", x_forwarded_user=sent)
        assert isinstance(answer.body, bytes)
        assert "<bdi>jörg</bdi>" in answer.body.decode()


def test_without_a_token_there_is_no_form() -> None:
    farm = Farm(BY_PROXY)
    assert farm.get("/login", accept="text/html").status == 303
    assert sign_in(farm, "").status == 303
    assert "Set-Cookie" not in sign_in(farm, "").headers


def test_who_is_told_twice_is_believed_neither_time() -> None:
    headers = {"x-forwarded-user": "root"}
    once = Request("GET", "/", headers=headers, peer="10.1.2.3")
    twice = Request(
        "GET", "/", headers=headers, peer="10.1.2.3", repeated=frozenset(["x-forwarded-user"])
    )
    assert BY_PROXY is not None
    guard = Guard(BY_PROXY)
    assert guard.visitor(once) is not None
    assert guard.visitor(twice) is None


@pytest.mark.parametrize(
    "cookie", ['tinymlaas_status="' + '\\"' * 30_000, "tinymlaas_status=" * 200]
)
def test_a_strangers_cookies_take_no_time(cookie: str) -> None:
    """What http.cookies makes of the first takes half a minute of processor."""
    guard = Guard(Access(token=TOKEN))
    before = time.process_time()
    for _ in range(20):
        assert guard.visitor(Request("GET", "/", headers={"cookie": cookie})) is None
    assert time.process_time() - before < 10, "it is far less than a second, or minutes"


@pytest.mark.parametrize("path", ["/login?" + "a=b&" * 20, "/jobs?" + "a=b&" * 20])
def test_forms_with_too_many_fields_are_no_forms(path: str) -> None:
    farm = Farm()
    status = farm.get(path).status
    assert status in {303, 400}
    many = Request("POST", "/login", body=b"token=x&" * 20)
    assert farm.site.answer(many).status == 403
