"""Is a server without TLS reached without a word to the rest of the process?"""

from __future__ import annotations

import os

from requests_oauthlib import oauth2_session

from trackyard import start_run
from trackyard.contract import process_values
from trackyard_neptune.transport import insecure_transport, without_tls

SERVER, OTHER = "http://neptune.acme:8080", "http://neptune.acme:80801"


def is_secure(uri: str) -> bool:
    return oauth2_session.is_secure_transport(uri)


def test_only_the_one_server_may_be_without_tls_and_only_inside():
    with process_values({}, insecure_transport()):
        assert not is_secure(f"{SERVER}/token")
        with without_tls(SERVER):
            assert is_secure(f"{SERVER}/token")
            assert not is_secure(f"{OTHER}/token")
            assert not is_secure("http://elsewhere.acme/token")
            assert is_secure("https://elsewhere.acme/token")
    assert not is_secure(f"{SERVER}/token")


def test_a_run_on_such_a_server_sets_no_variable(project, online, monkeypatch):
    project.configure(project=online.PROJECT, isolation="thread")
    seen = []
    setitem = type(os.environ).__setitem__

    def noting(environment, key, value):
        seen.append(key)
        setitem(environment, key, value)

    monkeypatch.setattr(type(os.environ), "__setitem__", noting)
    with start_run("plain") as run:
        run.log_metric("loss", 0.5)

    assert online.only.values("loss") == [(0, 0.5)]
    assert not [key for key in seen if "OAUTHLIB" in key]
