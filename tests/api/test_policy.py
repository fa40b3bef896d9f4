"""What the head of an answer lets a browser do."""

from __future__ import annotations

import pytest
from django.test import Client

from api.support import person
from openomni.api.accounts.models import Project


def heads(path: str, project: Project) -> dict[str, str]:
    browser = Client()
    browser.force_login(person("ada", "owner", project))
    return dict(browser.get(path).headers)


@pytest.mark.parametrize(
    "path", ["/", "/talk/", "/admin/login/", "/agents/", "/datasets/", "/none/", "/api/v1/me", "/api/v1/docs"]
)
def test_no_page_of_ours_runs_what_stands_in_it(project: Project, path: str) -> None:
    head = heads(path, project)
    policy = head["Content-Security-Policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy.split("; ")
    assert (head["X-Content-Type-Options"], head["Referrer-Policy"]) == ("nosniff", "same-origin")


def test_the_admins_theme_alone_gets_more(project: Project) -> None:
    policy = heads("/admin/", project)["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-inline' 'unsafe-eval'" in policy
    assert "default-src 'none'" in policy


def test_the_talk_page_alone_may_hear_and_see(project: Project) -> None:
    talk = heads("/talk/", project)
    assert talk["Permissions-Policy"].startswith("camera=(self), microphone=(self)")
    assert "connect-src 'self' ws://testserver;" in talk["Content-Security-Policy"]
    assert Client().get("/admin/login/").headers["Permissions-Policy"].startswith("camera=(), microphone=()")


@pytest.mark.parametrize(
    ("host", "secure", "kept"),
    [("lab.example:8443", True, True), ("lab.example", False, False), ("10.0.0.7:8443", True, False),
     ("[::1]:8443", True, False), ("localhost:8443", True, False)],
)  # fmt: skip
def test_a_name_that_is_reached_securely_stays_so(db: None, host: str, secure: bool, kept: bool) -> None:
    answer = Client().get("/admin/login/", secure=secure, headers={"host": host})
    assert answer.status_code == 200
    assert ("Strict-Transport-Security" in answer.headers) == kept
