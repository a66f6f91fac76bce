"""The contract of a model."""

import json

from rayal.models.architectures.small_cnn import SmallCnn


def test_a_model_is_its_configuration() -> None:
    """The run folder would not record what was built."""
    model = SmallCnn(width=8)

    assert {"name": "small_cnn", "width": 8, "dropout": 0.0, "pretrained": None} == json.loads(
        model.model_dump_json()
    )
