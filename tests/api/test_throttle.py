"""Whoever guesses passwords or sign-in links has to wait, is told how long, and keeps nobody else out."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.utils import timezone

from api.support import person, start_server, stop_server
from openomni.api.accounts import login, pages, throttle
from openomni.api.accounts.login import TRIES
from openomni.api.accounts.models import SignInLink, Tries

MANY = 12
RIGHT = "correct horse battery"
WAIT = "too many wrong passwords; try again in "


@pytest.fixture(autouse=True)
def people(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The larger numbers smaller, for speed.
    monkeypatch.setattr(login, "TRIES_OF_NAME", MANY)
    monkeypatch.setattr(login, "TRIES_OF_ADDRESS", MANY)
    for name in ("ada", "ben"):
        person(name)


def attempt(password: str, address: str = "10.0.0.1", name: str = "ada", **headers: str) -> str:
    """What the login page says; empty when it let somebody in."""
    answer = Client(REMOTE_ADDR=address).post(
        "/admin/login/", {"username": name, "password": password}, headers=headers
    )
    return "" if answer.status_code == 302 else answer.content.decode()


def test_whoever_guesses_passwords_has_to_wait_and_is_told_how_long() -> None:
    for _ in range(TRIES):
        assert "too many" not in attempt("a guess")
    assert WAIT in attempt(RIGHT)
    assert WAIT in attempt(RIGHT, name="ADA"), "a name in large letters is the same name"
    for seconds, words in ((239, "4 minutes"), (59, "1 minute")):
        Tries.objects.update(until=timezone.now() + timedelta(seconds=seconds))
        assert f"{WAIT}{words}" in attempt(RIGHT)
    Tries.objects.update(until=timezone.now() - timedelta(seconds=1))
    assert attempt(RIGHT) == ""


def test_others_are_not_kept_out() -> None:
    for _ in range(2 * MANY):
        attempt("a guess")
    assert WAIT in attempt(RIGHT)
    assert attempt(RIGHT, address="10.0.0.2") == "", "tries in vain while one waits use up nobody else's"
    assert attempt(RIGHT, name="ben") == ""


def test_nobody_gets_a_new_address_by_saying_so() -> None:
    for number in range(TRIES):
        attempt("a guess", X_Forwarded_For=f"10.0.1.{number}")
    assert WAIT in attempt(RIGHT, X_Forwarded_For="10.0.2.1")


def test_many_addresses_share_the_tries_of_a_name() -> None:
    for number in range(MANY):
        assert "too many" not in attempt("a guess", address=f"10.1.0.{number}")
    assert WAIT in attempt(RIGHT, address="10.2.0.1")
    assert attempt(RIGHT, address="10.2.0.1", name="ben") == ""


def test_one_address_has_so_many_tries_of_all_names() -> None:
    for number in range(MANY):
        assert "too many" not in attempt("a guess", name=f"somebody{number}")
    assert WAIT in attempt(RIGHT)
    assert attempt(RIGHT, address="10.0.0.2") == ""


def test_a_right_password_forgives_the_wrong_ones() -> None:
    for _ in range(2):
        for _ in range(TRIES - 1):
            attempt("a guess")
        assert attempt(RIGHT) == ""


def test_right_passwords_use_up_no_tries() -> None:
    for _ in range(MANY + 1):
        assert attempt(RIGHT) == ""


def test_a_form_without_a_password_is_no_try() -> None:
    for _ in range(TRIES + 1):
        assert "too many" not in attempt("")
    assert not Tries.objects.exists()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_address_of_ipv6_counts_as_its_network(address: str, network: str) -> None:
    assert throttle.address_of(RequestFactory().get("/", REMOTE_ADDR=address)) == network


def test_old_tries_are_forgotten_and_names_are_not_kept() -> None:
    attempt("a guess", name="somebody")
    assert "somebody" not in str(list(Tries.objects.values()))
    Tries.objects.update(until=timezone.now() - timedelta(seconds=1))
    throttle.take({"another": 1})
    assert Tries.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_guesses_at_once_are_counted_one_by_one() -> None:
    def guess(_: int) -> bool:
        try:
            throttle.take({"a": 5, "b": 50})
        except throttle.TooMany:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(guess, range(24))) == 5


def test_whoever_guesses_sign_in_links_has_to_wait() -> None:
    path = SignInLink.path_for(person("cora"))
    browser = Client(REMOTE_ADDR="10.0.0.1")
    for number in range(pages.LINKS):
        assert browser.get(f"/sign-in/MQ:1xVK8c:forged{number}/").status_code == 410
    refused = browser.get(path)
    assert refused.status_code == 429
    assert re.search(r"Try again in \d minute", refused.content.decode())
    assert 0 < int(refused.headers["Retry-After"]) <= 300
    assert Client(REMOTE_ADDR="10.0.0.2").get(path).status_code == 302, "the link was not used up"


# ---- behind the gateway, and in front of it --------------------------------------------------------------------


@pytest.mark.long
def test_the_address_comes_from_a_trusted_proxy_and_from_nobody_else(tmp_path: Path) -> None:
    """The gateway is at 127.0.0.1, which is trusted; 127.0.0.2 stands for a machine outside."""
    server = start_server(tmp_path / "data")

    def said(source: str, forwarded: str) -> str:
        transport = httpx.HTTPTransport(local_address=source)
        with httpx.Client(base_url=server.url, transport=transport, headers={"X-Forwarded-For": forwarded}) as client:
            page = client.get("/admin/login/").text
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert token
            form = {"username": "owner", "password": "wrong", "csrfmiddlewaretoken": token[1]}
            return client.post("/admin/login/", data=form).text

    try:
        for number in range(TRIES):
            assert "too many" not in said("127.0.0.2", f"10.0.0.{number}")
        assert WAIT in said("127.0.0.2", "10.0.1.1"), "whoever is outside can't take another address"
        assert "too many" not in said("127.0.0.1", "10.0.1.1")
        for _ in range(TRIES):
            said("127.0.0.1", "10.0.1.2")
        assert WAIT in said("127.0.0.1", "10.0.1.2")
        assert WAIT in said("127.0.0.1", "6.6.6.6, 10.0.1.2"), "the last hop is what the proxy saw; the others are told"
        assert "too many" not in said("127.0.0.1", "10.0.1.3"), "other clients of the gateway are not kept out"
    finally:
        assert stop_server(server) == 0
