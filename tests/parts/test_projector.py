"""The projector's norms are part of the methods that use it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tacita.errors import ConfigError
from tacita.parts.projector import projector


def test_norms_and_activations_stand_between_the_linear_layers_only():
    kinds = [type(layer) for layer in projector(8, (16, 16, 4))]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert kinds == [*hidden, *hidden, nn.Linear]
    assert [type(layer) for layer in projector(8, (4,))] == [nn.Linear]


def test_widths_are_those_asked_for():
    assert projector(8, (16, 12, 4))(torch.randn(5, 8)).shape == (5, 4)


@pytest.mark.parametrize("widths", [(), (16, 0), (-4,)])
def test_widths_that_make_no_network_are_refused(widths):
    with pytest.raises(ConfigError, match="projector="):
        projector(8, widths)


def test_a_norm_at_the_output_has_neither_scale_nor_shift():
    *layers, last = projector(8, (16, 4), norm_output=True)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert isinstance(last, nn.BatchNorm1d)
    assert list(last.parameters()) == []
