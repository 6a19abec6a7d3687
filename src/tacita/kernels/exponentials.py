"""Exponentials for compiled loops: those of float64 are the library's, of float32 polynomials.

The polynomials and the arithmetic on the bits of exponents become vector instructions, which calls
of a library do not. A NaN comes out as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic, overload

from tacita.kernels.compiled import Number, inlined

LOG2_E = math.log2(math.e)
LN_2 = math.log(2)


@intrinsic  # type: ignore[untyped-decorator]
def bits_of(typing: Any, number: Any) -> Any:
    """The bits of a float32 as an int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int32))

    return types.int32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def number_of(typing: Any, bits: Any) -> Any:
    """The float32 that has these bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


single = np.float32
ROUND = single(1.5 * 2**23)  # added to a number of up to 2^22, leaves an integer in its last bits
ROUND_BITS = np.int32(0x4B400000 - 127)  # ... and these bits, less the offset of exponents
MANTISSA_BITS = np.int32(23)
LOWEST, HIGHEST = single(-127), single(128)  # 2^-127 comes out as 0, 2^128 as infinity
# (2^r - 1) / r in powers of r for |r| <= 1/2, to 1e-7 of 2^r; exact at 0.
E1, E2, E3 = single(0.6931470), single(0.24022243), single(0.055507336)
E4, E5 = single(0.009671513), single(0.0013264727)
# (atanh(s) / s - 1) / s^2 in powers of s^2 <= 1/9, to 4e-9 of atanh(s).
T1, T2, T3, T4 = single(0.3333316), single(0.20012455), single(0.139803), single(0.14089167)
ZERO, ONE, TWO, LINEAR = single(0), single(1), single(2), single(20)
LOG2_E_32, LN_2_32 = single(LOG2_E), single(LN_2)
LN_2_HIGH = single(0.693359375)  # few bits, so that its multiples are exact
LN_2_LOW = single(LN_2 - 0.693359375)


@inlined
def power_of_2(whole: Number, part: Number) -> Number:
    """2 to the power of `whole - ROUND + part`, where `whole` has been rounded by adding `ROUND`."""
    p = ((((E5 * part + E4) * part + E3) * part + E2) * part + E1) * part + ONE
    return p * number_of((bits_of(whole) - ROUND_BITS) << MANTISSA_BITS)


@inlined
def exp2_32(v: Number) -> Number:
    """2^v to 2 units in the last place; the comparisons let a NaN through."""
    v = LOWEST if v < LOWEST else v
    v = HIGHEST if v > HIGHEST else v
    whole = v + ROUND
    return power_of_2(whole, v - (whole - ROUND))


@inlined
def exp_32(v: Number) -> Number:
    """e^v; what is left after whole powers of 2 is computed exactly, however large v is."""
    v = LOWEST * LN_2_32 if v < LOWEST * LN_2_32 else v
    v = HIGHEST * LN_2_32 if v > HIGHEST * LN_2_32 else v
    whole = v * LOG2_E_32 + ROUND
    n = whole - ROUND
    return power_of_2(whole, ((v - n * LN_2_HIGH) - n * LN_2_LOW) * LOG2_E_32)


@inlined
def softplus_32(v: Number) -> Number:
    """max(v, 0) + log(1 + e^-|v|), the logarithm as 2 atanh(e / (2 + e)): exact for small e too."""
    e = exp_32(-abs(v))
    s = e / (TWO + e)
    q = s * s
    p = (((T4 * q + T3) * q + T2) * q + T1) * q + ONE
    return (v if v > ZERO else ZERO) + TWO * s * p


@inlined
def sigmoid_32(v: Number) -> Number:
    return ONE / (ONE + exp_32(-v))


@inlined
def exp2_64(v: Number) -> Number:
    return np.exp2(v)


@inlined
def softplus_64(v: Number) -> Number:
    return v if v > 20.0 else math.log1p(math.exp(v))  # as in torch


@inlined
def sigmoid_64(v: Number) -> Number:
    return 1.0 / (1.0 + math.exp(-v))


@inlined
def softplus_slope_64(v: Number) -> Number:
    return 1.0 if v > 20.0 else sigmoid_64(v)


def of_both(of_32: Callable[[Number], Number], of_64: Callable[[Number], Number]) -> Any:
    """A function for compiled loops: `of_32` of a float32, `of_64` of a float64."""

    def either(v: Number) -> Number:
        raise NotImplementedError  # only its overload below is ever called, from compiled code

    @overload(either, jit_options={"forceinline": True})  # type: ignore[untyped-decorator]
    def choose(v: Number) -> Any:
        of_this = of_32 if v == types.float32 else of_64

        def chosen(v: Number) -> Number:
            return of_this(v)

        return chosen

    return either


exp2 = of_both(exp2_32, exp2_64)
sigmoid = of_both(sigmoid_32, sigmoid_64)
softplus_of = of_both(softplus_32, softplus_64)
softplus_slope = of_both(sigmoid_32, softplus_slope_64)
