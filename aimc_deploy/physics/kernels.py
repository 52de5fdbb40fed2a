"""The loops in which a CPU spends its time, compiled by numba: random normal values, DAC, ADC.

Each takes float32 arrays and the rows to work on, ``first`` to ``last``, so that threads can share one
call; what a row gets does not depend on how the rows were shared. All stand in one file because numba's
cache notices changes of a function's own file only.

Random values come from Threefry-2x32 with 20 rounds, keyed by the draw and counted by row and column pair,
through the Box-Muller transform. Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11
(the published test vectors are in the tests). The polynomials are Chebyshev fits; what they and single
precision leave of the normal distribution ends at 6.6 standard deviations.
"""

from __future__ import annotations

import math

import numpy as np
from numba import float32, int32, prange, uint32

from aimc_deploy.physics.compiled import RowLoop, compiled, compiled_for_threads, inline

_f32 = np.float32

ROUNDS_TO_EVEN = 1.5 * 2.0**23
"""Added and taken away again, it rounds a float32 below 2^22 to the nearest integer, ties to even."""


@inline
def _round(x0, x1, bits):
    x0 = uint32(x0 + x1)
    return x0, uint32(uint32((x1 << uint32(bits)) | (x1 >> uint32(32 - bits))) ^ x0)


@inline
def _four_rounds(x0, x1, r0, r1, r2, r3):
    x0, x1 = _round(*_round(x0, x1, r0), r1)
    return _round(*_round(x0, x1, r2), r3)


@inline
def _threefry(key, c0, c1):
    """Two random words for a 64-bit key and two counters."""
    k0, k1 = uint32(key), uint32(key >> 32)
    k2 = uint32(k0 ^ k1 ^ uint32(0x1BD11BDA))
    x0, x1 = uint32(c0 + k0), uint32(c1 + k1)
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    x0, x1 = uint32(x0 + k1), uint32(x1 + k2 + uint32(1))
    x0, x1 = _four_rounds(x0, x1, 17, 29, 16, 24)
    x0, x1 = uint32(x0 + k2), uint32(x1 + k0 + uint32(2))
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    x0, x1 = uint32(x0 + k0), uint32(x1 + k1 + uint32(3))
    x0, x1 = _four_rounds(x0, x1, 17, 29, 16, 24)
    x0, x1 = uint32(x0 + k1), uint32(x1 + k2 + uint32(4))
    x0, x1 = _four_rounds(x0, x1, 13, 15, 26, 6)
    return uint32(x0 + k2), uint32(x1 + k0 + uint32(5))


@inline
def _normals(word, other):
    """Two independent standard normal values from two random words."""
    u = float32(word) * _f32(2.0**-32) + _f32(2.0**-33)  # in (0, 1]
    bits = np.float32(u).view(np.int32)
    exponent = int32(int32(bits - int32(0x3F3504F3)) >> int32(23))  # u = 2^exponent (1 + f), 1 + f about 1
    f = np.int32(int32(bits - int32(exponent << int32(23)))).view(np.float32) - _f32(1)
    log = _f32(-0.1013405675176745)
    log = log * f + _f32(0.16234189799452903)
    log = log * f + _f32(-0.172470133037658)
    log = log * f + _f32(0.19898565048202294)
    log = log * f + _f32(-0.24970071685058623)
    log = log * f + _f32(0.3333511414034797)
    log = log * f + _f32(-0.5000036309272985)
    log = log * f + _f32(0.9999999425426713)
    log = float32(exponent) * _f32(0.6931471805599453) + f * log
    radius = math.sqrt(max(_f32(-2) * log, _f32(0)))
    # Half a turn from the high bits; the lowest bit chooses the half.
    v = float32(int32(other)) * _f32(2.0**-32)
    square = v * v
    sine = _f32(0.07765766030536174)
    sine = sine * square + _f32(-0.5982912856202409)
    sine = sine * square + _f32(2.550077523214527)
    sine = sine * square + _f32(-5.16771008350788)
    sine = sine * square + _f32(3.1415926401307064)
    cosine = _f32(0.21968961109759486)
    cosine = cosine * square + _f32(-1.3318765680807596)
    cosine = cosine * square + _f32(4.058411352862561)
    cosine = cosine * square + _f32(-4.93479283061964)
    cosine = cosine * square + _f32(0.999999953247608)
    signed = np.int32(np.float32(radius).view(np.int32) | int32(int32(other) << int32(31)))
    radius = np.int32(signed).view(np.float32)
    return radius * cosine, radius * (sine * v)


@compiled
def threefry(key, c0, c1):
    """One block of Threefry-2x32-20 as one 64-bit number; ``key`` and the counters are integers."""
    x0, x1 = _threefry(key, uint32(c0), uint32(c1))
    return (np.uint64(x1) << np.uint64(32)) | np.uint64(x0)


@inline
def _add_normal_to_row(row, sigma, gain, key, i):
    cols = row.size
    half = (cols + 1) // 2
    # A pair of normal values for the two halves of a row: both are read and written in order.
    left, right = row[: cols - half], row[half:]
    for j in range(left.size):
        x, y = _normals(*_threefry(key, uint32(j), uint32(i)))
        left[j] = left[j] * gain + x * sigma
        right[j] = right[j] * gain + y * sigma
    if cols % 2:
        x, _ = _normals(*_threefry(key, uint32(half - 1), uint32(i)))
        row[half - 1] = row[half - 1] * gain + x * sigma


@compiled
def _add_normal(first, last, values, sigma, gain, key):
    """``values = gain * values + sigma * N`` in place, in rows ``first`` to ``last`` of (rows, cols)."""
    for i in range(first, last):
        _add_normal_to_row(values[i], float32(sigma), float32(gain), key, i)
    return 0


@compiled_for_threads
def _add_normal_on_threads(parts, rows, arguments):
    count = 0
    for part in prange(parts):
        count += _add_normal(rows * part // parts, rows * (part + 1) // parts, *arguments)
    return count


add_normal = RowLoop(_add_normal, _add_normal_on_threads)


@inline
def _deviation(variance, scale):
    return scale * math.sqrt(max(variance, _f32(0)))


@compiled
def _add_normal_of(first, last, values, variance, scale, key):
    """``values = values + scale * sqrt(variance) * N`` in place; a variance below 0 counts as 0."""
    scale = float32(scale)
    cols = values.shape[1]
    half = (cols + 1) // 2
    for i in range(first, last):
        left, right = values[i, : cols - half], values[i, half:]
        left_of, right_of = variance[i, : cols - half], variance[i, half:]
        for j in range(left.size):
            x, y = _normals(*_threefry(key, uint32(j), uint32(i)))
            left[j] += x * _deviation(left_of[j], scale)
            right[j] += y * _deviation(right_of[j], scale)
        if cols % 2:
            x, _ = _normals(*_threefry(key, uint32(half - 1), uint32(i)))
            values[i, half - 1] += x * _deviation(variance[i, half - 1], scale)
    return 0


@compiled_for_threads
def _add_normal_of_on_threads(parts, rows, arguments):
    count = 0
    for part in prange(parts):
        count += _add_normal_of(rows * part // parts, rows * (part + 1) // parts, *arguments)
    return count


add_normal_of = RowLoop(_add_normal_of, _add_normal_of_on_threads)


@inline
def _pulsed(v, net, total, f0, f1, g0, g1, low, high, normal, scale, by_response):
    f, g = f0 + f1 * v, g0 + g1 * v
    moved = v + net * f - total * g
    up, down = f - g, f + g
    both = _f32(0.5) * ((total + net) * up * up + (total - net) * down * down)
    variance = both if by_response else (total if f0 > 0 else _f32(0))
    moved += normal * _deviation(variance, scale)
    moved = low if moved < low else moved
    return high if moved > high else moved


@compiled
def _pulse_linear(first, last, moved, v, net, total, f0, f1, g0, g1, low, high, scale, by_response, key):
    """``moved = clip(v + net F(v) - total G(v) + noise, low, high)``; ``F`` and ``G`` are lines.

    All arrays are (rows, cols). ``noise = scale * sqrt(total) * N``, 0 where ``f0`` is 0; or,
    ``by_response``, with the variance of each pulse times the square of its response. ``key`` None is none.
    """
    normal = np.zeros(v.shape[1], np.float32)
    for i in range(first, last):
        if key is not None:
            _add_normal_to_row(normal, _f32(1), _f32(0), key, i)
        for j in range(v.shape[1]):
            moved[i, j] = _pulsed(
                v[i, j], net[i, j], total[i, j], f0[i, j], f1[i, j], g0[i, j], g1[i, j],
                low[i, j], high[i, j], normal[j], float32(scale), by_response,
            )  # fmt: skip
    return 0


@compiled_for_threads
def _pulse_linear_on_threads(parts, rows, arguments):
    count = 0
    for part in prange(parts):
        count += _pulse_linear(rows * part // parts, rows * (part + 1) // parts, *arguments)
    return count


pulse_linear = RowLoop(_pulse_linear, _pulse_linear_on_threads)


@compiled
def _convert_inputs(first, last, x, stride, full_scale, dynamic, levels, codes):
    """DAC: ``codes = clip(round(x / full_scale * levels))`` for each row of (rows, cols) ``codes``.

    ``x`` holds the inputs flat, each row ``stride`` after the one before. ``dynamic`` takes the largest
    absolute value of a row as its full scale, but no less than what stands in ``full_scale``, and puts it
    there. No ``levels`` (0) is an ideal converter, with codes in [-1, 1]. What is not finite becomes NaN.
    """
    cols = codes.shape[1]
    limit = float32(max(levels, 1))
    magic = float32(ROUNDS_TO_EVEN if levels else 0.0)
    bits = x.view(np.int32)
    for i in range(first, last):
        if dynamic:
            # As integers, absolute values of floats keep their order, and a NaN is above all of them.
            largest = np.float32(full_scale[i]).view(np.int32)
            sizes = bits[i * stride : i * stride + cols]
            for j in range(cols):
                size = int32(sizes[j] & int32(0x7FFFFFFF))
                largest = size if size > largest else largest
            full_scale[i] = np.int32(largest).view(np.float32)
        factor = limit / full_scale[i]
        row, code = x[i * stride : i * stride + cols], codes[i]
        for j in range(cols):
            value = row[j] * factor
            value = -limit if value < -limit else value
            value = limit if value > limit else value
            code[j] = ((value + magic) - magic) + (row[j] - row[j])
    return 0


@compiled_for_threads
def _convert_inputs_on_threads(parts, rows, arguments):
    count = 0
    for part in prange(parts):
        count += _convert_inputs(rows * part // parts, rows * (part + 1) // parts, *arguments)
    return count


convert_inputs = RowLoop(_convert_inputs, _convert_inputs_on_threads)


@compiled
def _convert_outputs(
    first, last, y, gain, sigma, key, levels, output_range, full_scale, out_scale, onto, saturated
):
    """Output noise, ADC and digital scale, in place: column currents ``y``, (rows, cols), become outputs.

    ``y = onto + full_scale * out_scale * clip(quantise(gain * y + sigma * N))``. ``gain`` brings ``y`` into
    units of (largest weight x largest input); ``onto`` is one row for all (a bias) or one for each; ``key``
    None is no noise. ``saturated``, None or (rows, cols), is set where the ADC was out of its range.
    Returns how many were.
    """
    limit = float32(levels if levels else output_range)
    to_codes = float32(limit / output_range)
    to_units = float32(output_range / limit)
    magic = float32(ROUNDS_TO_EVEN if levels else 0.0)
    count = 0
    for i in range(first, last):
        row, base = y[i], onto[i if onto.shape[0] > 1 else 0]
        if key is not None:
            _add_normal_to_row(row, float32(sigma), float32(gain), key, i)
            unit = to_codes
        else:
            unit = to_codes * float32(gain)
        scale = to_units * full_scale[i]
        if saturated is not None:
            outside = saturated[i]
            for j in range(row.size):
                out = abs(row[j] * unit) > limit
                outside[j] = out
                count += out
        for j in range(row.size):
            value = row[j] * unit
            value = -limit if value < -limit else value
            value = limit if value > limit else value
            row[j] = base[j] + ((value + magic) - magic) * (scale * out_scale[j])
    return count


@compiled_for_threads
def _convert_outputs_on_threads(parts, rows, arguments):
    count = 0
    for part in prange(parts):
        count += _convert_outputs(rows * part // parts, rows * (part + 1) // parts, *arguments)
    return count


convert_outputs = RowLoop(_convert_outputs, _convert_outputs_on_threads)
