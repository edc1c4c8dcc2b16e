"""Who may read the page, and what does each answer forbid the browser?"""

from __future__ import annotations

import re

import pytest
from starlette.testclient import TestClient

from trackyard_page.access import POLICY, Access
from trackyard_page.app import new_app

HOME = "http://127.0.0.1:8642"


def browser(tmp_path, client=("127.0.0.1", 50000), base_url=HOME, root_path="", **access):
    app = new_app(tmp_path, Access(**access), root_path=root_path)
    return TestClient(app, base_url=base_url, follow_redirects=False, client=client)


def test_nobody_reads_without_the_token(tmp_path):
    reader = browser(tmp_path, token="secret")

    for path in ("/", "/runs", "/health", "/nowhere"):
        answer = reader.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 401, path
        assert "runs" not in re.sub(r'action="[^"]*"', "", answer.text)


@pytest.mark.parametrize(
    "given",
    [{"params": {"token": "wrong"}}, {"headers": {"authorization": "Bearer wrong"}},
     {"headers": {"cookie": "trackyard-page=secret"}}],
    ids=["link", "bearer", "the token as a cookie"],
)  # fmt: skip
def test_a_wrong_token_lets_nobody_in(tmp_path, given):
    assert browser(tmp_path, token="secret").get("/runs", **given).status_code == 401


def test_the_printed_link_gives_a_cookie_and_an_address_without_the_token(tmp_path):
    reader = browser(tmp_path, token="secret")
    answer = reader.get("/runs?filter=name+%3D+%27a%27&token=secret")

    assert answer.status_code == 303
    assert answer.headers["location"] == "/runs?filter=name+%3D+%27a%27"
    assert re.search("httponly.*samesite=lax", answer.headers["set-cookie"], re.IGNORECASE)
    assert "secret" not in answer.headers["set-cookie"]
    assert reader.get("/runs").status_code == 200


def test_a_link_never_leads_to_another_host(tmp_path):
    answer = browser(tmp_path, token="secret").get(f"{HOME}//evil.example/?token=secret")

    assert answer.headers["location"].startswith("/evil.example")


def test_programs_give_the_token_as_bearer(tmp_path):
    reader = browser(tmp_path, token="secret")

    assert reader.get("/runs", headers={"authorization": "Bearer secret"}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_somebody_has_led_here_is_refused(tmp_path, host):
    answer = browser(tmp_path, token="secret").get(
        "/runs", headers={"host": host, "authorization": "Bearer secret"}
    )

    assert answer.status_code == 400


@pytest.mark.parametrize(
    "host", ["localhost:8642", "127.0.0.1", "[::1]:8642", "10.0.0.7", "team.example"]
)
def test_addresses_and_known_names_are_answered(tmp_path, host):
    answer = browser(tmp_path, token="secret", hosts=("team.example",)).get(
        "/runs", headers={"host": host, "authorization": "Bearer secret"}
    )

    assert answer.status_code == 200


def test_each_answer_forbids_what_is_inline_and_from_elsewhere(tmp_path):
    reader = browser(tmp_path, token="secret")
    bearer = {"authorization": "Bearer secret"}

    for path in ("/runs", "/static/page.css", "/nowhere"):
        headers = reader.get(path, headers=bearer).headers
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self'; style-src 'self'")


def test_no_template_holds_what_the_policy_forbids(tmp_path):
    from trackyard_page import app

    folder = app.files("trackyard_page") / "templates"
    for template in folder.iterdir():
        assert not re.search(
            r'\sstyle=|\son\w+="|<style|<script>|hx-on|\|\s*safe', template.read_text()
        )


def test_a_page_of_another_site_changes_nothing(tmp_path):
    reader = browser(tmp_path, token="secret")
    bearer = {"authorization": "Bearer secret"}

    for header in (
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ):
        assert reader.post("/runs", headers=bearer | header).status_code == 403
    own = bearer | {"origin": HOME, "sec-fetch-site": "same-origin"}
    assert reader.post("/runs", headers=own).status_code == 405


def test_a_trusted_proxy_alone_is_believed(tmp_path):
    access = {"proxies": ("10.0.0.1",), "user_header": "x-user", "hosts": ("team.example",)}
    base_url = "http://team.example"

    through = browser(tmp_path, ("10.0.0.1", 4), base_url, **access)
    around = browser(tmp_path, ("10.0.0.2", 4), base_url, **access)

    answer = through.get("/runs", headers={"x-user": "ada <lovelace>"})
    assert answer.status_code == 200
    assert "ada &lt;lovelace&gt;" in answer.text
    assert around.get("/runs", headers={"x-user": "ada"}).status_code == 401


def test_without_a_proxy_nobody_says_who_reads(tmp_path):
    reader = browser(tmp_path, token="secret", user_header="x-user")
    answer = reader.get("/runs", headers={"authorization": "Bearer secret", "x-user": "ada"})

    assert answer.status_code == 200
    assert "ada" not in answer.text


def test_below_a_path_every_address_stands_below_it(tmp_path):
    """Whether or not the proxy takes the path away."""
    reader = browser(tmp_path, is_private_socket=True, root_path="/team/page")

    for path in ("/runs", "/team/page/runs"):
        answer = reader.get(path)
        found = re.findall(r'(?:href|src|action|hx-get)="([^"#]+)"', answer.text)
        assert answer.status_code == 200
        assert found
        assert all(address.startswith("/team/page/") for address in found), found
    assert reader.get("/team/page/static/page.css").status_code == 200
    assert reader.get("/").headers["location"] == "/team/page/runs"
