"""Secrets are recognised wherever they can stand, and nothing else is taken for one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rayal.secrets import hidden, holds, named, names_user_or_secret

SIGNS = some.text("aB1:/@?#&=%;,.-_~!$", max_size=6)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:s3cret@host/x", "http://***@host/x"),
        ("a: http://u:s3cret@h/x b: ftp://:s3cret@h", "a: http://***@h/x b: ftp://***@h"),
        ("http://me:s3/cr?et@host:5000", "http://***@host:5000"),
        ("s3://key:s3cret@bucket/a@b", "s3://***@b"),
        ("http://me:s3cret@[::1]:5000/x", "http://***@[::1]:5000/x"),
        ("--set uri='http://me:s3cret@host'", "--set uri='http://***@host'"),
        ("http://a:s3cret@h,http://b:s3cret@h", "http://***@h"),
        ("https://h/x?X-Amz-Signature=s3cret&part=1", "https://h/x?X-Amz-Signature=***&part=1"),
        ("az://c/x?sv=1&sig=s3cret%3D", "az://c/x?sv=1&sig=***"),
        ("AccountName=me;AccountKey=s3cret==;x=1", "AccountName=me;AccountKey=***;x=1"),
        ("https://h/#access_token=s3cret", "https://h/#access_token=***"),
        ("MY_KEY=http://me:s3cret@host", "MY_KEY=***"),
        ("abfss://me:s3cret@acct/x", "abfss://***@acct/x"),
        ("abfss://c@acct/x?sig=s3cret", "abfss://c@acct/x?sig=***"),
        ("hdfs://me:s3cret@host/x", "hdfs://***@host/x"),
    ],
)
def test_what_is_hidden(text: str, shown: str) -> None:
    """Whoever reads a log, a run folder or the tracker's pages would have it (C08, K11)."""
    assert shown == hidden(text)
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        *("s3://bucket/a:b@c", "https://host:80/x", "http://[::1]:5000/a", "sqlite:////a/b@c.db"),
        *("s3://bucket/key=5/token=a/x", "https://h/x?part=1&keyword=b", "me:you@host", "a@b"),
        *("expected key=value, for example lr=20", "RAY_AUTH_MODE=token", "://", "http://@"),
        *("RAY_AUTH_TOKEN_PATH=/run/x", "TOKENIZERS_PARALLELISM=false", "MY_TOKEN= x", ""),
        *("MAX_TOKENS=5", "PRIMARY_KEY=id", "PWD=/x", "az://c/x?sort_key=a"),
        *("abfss://container@acct.dfs.core.windows.net/x", "abfs://c@acct/x", "wasbs://c@acct/x"),
        *("hdfs://me@host/x", "hdfs://me@host:9000/x"),
    ],
)
def test_what_is_shown(text: str) -> None:
    """Paths and messages would be spoilt, and pools refused."""
    assert not holds(text)
    assert text.replace("http://@", "http://***@") == hidden(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://me@host:9000/x", "s3://***@host:9000/x"),
        ("MLFLOW_TRACKING_TOKEN=s3cret rayal run", "MLFLOW_TRACKING_TOKEN=*** rayal run"),
        ("hdfs://host:9000/user/me@here/x", "hdfs://***@here/x"),
    ],
)
def test_what_may_be_used_but_is_not_shown(text: str, shown: str) -> None:
    """A user alone is no secret, a port no password, and a variable may be none, but who knows."""
    assert not holds(text)
    assert shown == hidden(text)


@given(SIGNS, SIGNS, some.sampled_from(["", "me", "me@here"]))
def test_any_password_is_hidden(before: str, after: str, user: str) -> None:
    """The password that a pattern does not foresee would be the one that leaks."""
    text = f"MLflow at http://{user}:{before}s3cret{after}@host/x failed"

    assert "s3cret" not in hidden(text)
    assert re.match(r"MLflow at http://[*]+@", hidden(text))
    assert hidden(hidden(text)) == hidden(text)


@pytest.mark.parametrize(
    ("url", "names"),
    [
        *(("http://me:s3cret@host", True), ("http://s3cret@host:5000", True)),
        *(("http://host/x?token=s3cret", True), ("http://me@[::1]:5000", True)),
        *(("http://host:5000/a@b", False), ("http://host/a@b", False), ("http://host", False)),
    ],
)
def test_an_address_that_names_a_user(url: str, names: bool) -> None:
    """A server whose path holds an @ could not be used, or a token would be saved (C08)."""
    assert names == names_user_or_secret(url)


@pytest.mark.parametrize(
    "name", ["API_TOKENS", "DB_PWD", "MY_PASS", "pgpassword", "x-goog-credential", "AWSAccessKeyId"]
)
def test_names_of_secrets(name: str) -> None:
    """Its value would travel with a job, readable in the dashboard."""
    assert named(name)


@pytest.mark.parametrize(
    "name",
    [
        *("PASSES", "KEYBOARD", "design", "TOKEN_FILE", "X-Amz-Date", "PASS_THROUGH", "ONE_PASS"),
        *("PWD", "OLDPWD", "MAX_TOKENS", "max_new_tokens", "PRIMARY_KEY", "foreignKey"),
    ],
)
def test_names_of_others(name: str) -> None:
    """A job could not be given a setting."""
    assert not named(name)
