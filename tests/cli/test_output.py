"""What the command line prints: programs can read it, and nobody reads a secret."""

import json

import pytest

from rayal.cli.output import print_json


def test_json_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """The sign that ends a quoted secret would be hidden with it: a script could read no answer."""
    message = 'cannot read "https://h/x?sig=s3cret"'
    print_json([{"message": message, "http://me:s3cret@h": [1, None, ("a", message)]}])

    hidden = 'cannot read "https://h/x?sig=***"'
    expected = [{"message": hidden, "http://***@h": [1, None, ["a", hidden]]}]
    assert expected == json.loads(capsys.readouterr().out)
