"""Liquid-S4: a state space whose transition depends on its input, by products of neighbouring inputs.

Hasani et al., "Liquid Structural State-Space Models", 2023. The recurrence
`x_t = (A + B u_t) x_{t-1} + B u_t` expands into products of inputs; the layer keeps those of up to `degree`
inputs in a row. Beside the convolution of S4D that is one more for each degree (`kb`), or none (`pb`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import fft_convolution, vandermonde_product
from tacita.layers.base import Run, State, last_valid
from tacita.layers.discretise import Rule
from tacita.layers.s4d import S4D, Start


@method(
    "liquid-s4",
    title="Liquid structural state-space layer (Liquid-S4)",
    paper="https://arxiv.org/abs/2209.12951",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="S4D with products of neighbouring inputs: for signals whose dynamics depend on the input.",
    reuses=("fft_convolution", "vandermonde"),
)
class LiquidS4(S4D):
    """S4D driven by `q_1 = u_t`, `q_2 = u_t u_{t-1}`, ... up to `degree` factors.

    d_model: channels.
    degree: the most inputs that are multiplied; 2 to 4 in the paper.
    liquid: `kb`: each product enters the state, `x_t = A x_{t-1} + sum_p B^p q_p`; `pb`: products are
        read out at once, `y_t += 2 Re sum_p C B^p q_p`, with `A` left out. Powers are by element.
    d_state, start, discretisation, dt_min, dt_max: as in S4D; small states do (7 in the paper).

    The step form and the parallel form are the same function exactly. Against the input-dependent
    recurrence, `kb` is exact in what inputs do that follow each other without a pause, up to `degree` of
    them, and leaves out products across a pause; `pb` keeps what these do at the moment only. Raises
    `ConfigError` for a degree below 2.

    Differs from the paper: the state space is diagonal from the start.

    >>> LiquidS4(4, d_state=8)(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"d_state": 4}
    time_invariant: bool = False  # products are not linear, though time shifts pass

    def __init__(
        self,
        d_model: int,
        *,
        degree: int = 2,
        liquid: Literal["kb", "pb"] = "pb",
        d_state: int = 8,
        start: Start = "legs",
        discretisation: Rule = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__(
            d_model,
            d_state=d_state,
            start=start,
            discretisation=discretisation,
            dt_min=dt_min,
            dt_max=dt_max,
        )
        if degree < 2:
            raise ConfigError(
                f"degree={degree} multiplies no inputs.", remedy="Give 2 to 4, or choose s4d."
            )
        if liquid not in ("kb", "pb"):
            raise ConfigError(f"liquid={liquid!r} is unknown.", remedy="Known: kb, pb.")
        self.degree, self.liquid = degree, liquid

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            products = self._products(u, run)  # (B, L, P, H)
            exponents, b, c = self.system(run.rate)
            powers = self._powers(b)
            if self.liquid == "pb":
                y, last = super().mix(u, run)
                y = y + (products[:, :, 1:] * (c * powers[1:]).sum(-1).real).sum(2)
            else:
                driven = (products[..., None] * powers).sum(2)  # (B, L, H, N/2)
                if run.resets is None and not run.return_state:
                    y, last = self._products_convolved(products, c * powers, exponents, run), None
                else:
                    y, last = self._drive(driven, exponents, c, run)
                y = y + self.D * u
        if last is None:
            return y.to(x.dtype), None
        before = self._before(run, u)
        return y.to(x.dtype), {
            **last,
            "products": last_valid(products[:, :, :-1], before, run.lengths),
        }

    def _products_convolved(
        self, products: Tensor, weights: Tensor, exponents: Tensor, run: Run
    ) -> Tensor:
        """`(B, L, H)`: every product with its own kernel, `Re C A^l B^p`."""
        batch, length, degrees, channels = products.shape
        kernels = vandermonde_product(weights, exponents, length).flatten(0, 1)  # (P H, L)
        y = fft_convolution(products.flatten(2).mT, kernels)
        y = y.view(batch, degrees, channels, length).sum(1)
        if run.state is not None:
            c = 2 * torch.view_as_complex(self.C)
            begun = c * exponents.exp() * run.state["ssm"]
            y = y + vandermonde_product(begun, exponents, length)
        return y.mT

    def _products(self, u: Tensor, run: Run) -> Tensor:
        """`(B, L, P, H)`: `q_p[t] = u[t] q_{p-1}[t-1]`, none of which reaches across a reset."""
        rows = [u]
        before = self._before(run, u)
        for p in range(1, self.degree):
            earlier = torch.cat([before[:, p - 1 : p], rows[-1][:, :-1]], 1)
            if run.resets is not None:
                earlier = earlier.masked_fill(run.resets[:, :, None], 0.0)
            rows.append(u * earlier)
        return torch.stack(rows, 2)

    def _before(self, run: Run, u: Tensor) -> Tensor:
        """`(B, P - 1, H)`: the products that ended at the step before the first."""
        if run.state is not None:
            return run.state["products"]
        return u.new_zeros(u.shape[0], self.degree - 1, u.shape[2])

    def _powers(self, b: Tensor) -> Tensor:
        """`(P, H, N/2)`: `B`, `B^2`, ... by element."""
        return torch.stack([b**p for p in range(1, self.degree + 1)])

    def zeros(self, batch_size: int, like: Tensor) -> State:
        products = like.new_zeros(batch_size, self.degree - 1, self.d_model)
        return {**super().zeros(batch_size, like), "products": products}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            return self._advance(x, state, rate)

    def _advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        u = x.to(self.D.dtype)
        earlier = functional.pad(state["products"], (0, 0, 1, 0), value=1.0)
        products = u[:, None] * earlier  # (B, P, H)
        exponents, b, c = self.system(rate)
        powers = self._powers(b)
        count = self.degree if self.liquid == "kb" else 1
        entering = (products[:, :count, :, None] * powers[:count]).sum(1)
        after = exponents.exp() * state["ssm"] + entering
        y = (c * after).sum(-1).real + self.D * u
        if self.liquid == "pb":
            y = y + (products[:, 1:] * (c * powers[1:]).sum(-1).real).sum(1)
        return y.to(x.dtype), {"ssm": after, "products": products[:, :-1]}
