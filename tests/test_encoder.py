from __future__ import annotations

import pytest

from tacita.encoder import require_tokens
from tacita.encoders import build
from tacita.errors import ConfigError
from tests.helpers import image_batch


def test_encoders_without_two_tokens_are_refused_with_those_that_work() -> None:
    spec, _ = image_batch()
    with pytest.raises(ConfigError, match=r"(?s)simmim.*ResidualCNN.*vit"):
        require_tokens(build("residual-cnn", spec), "simmim")
    with pytest.raises(ConfigError, match=r"(?s)simmim.*single token"):
        require_tokens(build("vit", spec, patch=8), "simmim")
    encoder = build("vit", spec)
    assert require_tokens(encoder, "simmim") is encoder
