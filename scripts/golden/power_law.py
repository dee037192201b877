#!/usr/bin/env python3
"""Writes tests/golden/experiments/power_law.json: points and the power laws that scipy fits to them.

usage: scripts/golden/power_law.py       (needs numpy 2.4 and scipy 1.17)

Each case has x, y and the least squares fit of the relative residuals (scipy.optimize.least_squares with bounds, from
many starts, the best taken), its 95 % profile likelihood intervals (brentq on the loss minimised over the other two
parameters; null where the loss stays below the limit up to the bound) and its leave-one-out error.
"""
import json
import pathlib

import numpy
from scipy import optimize, stats

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "experiments"
NAMES = ("log_scale", "exponent", "floor")


def residuals(parameters, x, y):
    """parameters: logarithm of the scale at the geometric mean of x, logarithm of the exponent, floor over mean y."""
    middle = numpy.exp(numpy.log(x).mean())
    level, exponent, floor = numpy.exp(parameters[0]), numpy.exp(parameters[1]), parameters[2] * y.mean()
    return 1 - (floor + level * (x / middle) ** -exponent) / y


def minimise(function, starts, bounds):
    best = None
    for start in starts:
        found = optimize.least_squares(function, start, bounds=bounds, method="trf", xtol=1e-15, ftol=1e-15, gtol=1e-15,
                                       max_nfev=4000)
        if best is None or found.cost < best.cost:
            best = found
    return best.x, 2 * best.cost


def fit(x, y):
    starts = [(numpy.log(y.mean()), numpy.log(exponent), floor) for exponent in (0.03, 0.1, 0.3, 1, 3) for floor in (1e-9, 0.1, 0.5)]
    bounds = ([-60, -12, 0], [60, 6, 10])
    parameters, loss = minimise(lambda p: residuals(p, x, y), starts, bounds)
    # At the bound exactly, where the interior method only comes near.
    on_bound, loss_there = minimise(lambda p: residuals([*p, 0.0], x, y), [start[:2] for start in starts], ([-60, -12], [60, 6]))
    if loss_there <= loss * (1 + 1e-9):
        return numpy.array([*on_bound, 0.0]), loss_there
    return parameters, loss


def named(parameters, x, y):
    exponent = numpy.exp(parameters[1])
    return {"log_scale": parameters[0] + exponent * numpy.log(x).mean(), "exponent": exponent, "floor": parameters[2] * y.mean()}


def profile(name, value, best, x, y):
    """The loss at a fixed value of one parameter."""
    if name == "exponent":
        free, bounds = [best[0], max(best[2], 1e-6)], ([-200, 0], [200, 10])
        return minimise(lambda p: residuals([p[0], numpy.log(value), p[1]], x, y), [free, [free[0], 0.3]], bounds)[1]
    if name == "floor":
        free, bounds = [best[0], best[1]], ([-200, -12], [200, 6])
        return minimise(lambda p: residuals([p[0], p[1], value / y.mean()], x, y), [free, [free[0], free[1] + 1]], bounds)[1]
    middle = numpy.log(x).mean()
    starts = [[max(-11.9, numpy.log(max(1e-5, (value - numpy.log(y.mean()) - shift) / middle))), floor]
              for shift in (-3, -1, 0, 1) for floor in (1e-6, 0.3)]
    return minimise(lambda p: residuals([value - numpy.exp(p[0]) * middle, p[0], p[1]], x, y), starts, ([-12, 0], [6, 10]))[1]


def end(name, start, steps, best, limit, x, y):
    """Where the profile crosses the limit, walking from `start`; None if it does not within the steps."""
    inside = start
    for outside in steps:
        if profile(name, outside, best, x, y) > limit:
            return optimize.brentq(lambda value: profile(name, value, best, x, y) - limit, inside, outside, rtol=1e-9, xtol=1e-14 * y.mean())
        inside = outside
    return None


def intervals(best, loss, x, y):
    degrees = len(x) - 3
    limit = loss * (1 + stats.t.ppf(0.975, degrees) ** 2 / degrees)
    values = named(best, x, y)
    found = {}
    for name in NAMES:
        value = values[name]
        growing = [0.02 * 1.35**i for i in range(18)]
        if name == "floor":
            low = [0.0] if value > 0 and profile(name, 0.0, best, x, y) > limit else []
            up = [value + y.min() * step for step in growing]
        elif name == "exponent":
            low, up = ([value * numpy.exp(sign * step) for step in growing] for sign in (-1, 1))
        else:
            low, up = ([value + sign * 3 * step for step in growing] for sign in (-1, 1))
        found[name] = [end(name, value, low, best, limit, x, y), end(name, value, up, best, limit, x, y)]
        if name == "floor" and found[name][0] is None:
            found[name][0] = 0.0
    return found


def case(name, x, y):
    x, y = numpy.asarray(x, dtype=float), numpy.asarray(y, dtype=float)
    best, loss = fit(x, y)
    left_out = []
    for i in range(len(x)):
        others = numpy.delete(x, i), numpy.delete(y, i)
        law = named(fit(*others)[0], *others)
        left_out.append(1 - (law["floor"] + numpy.exp(law["log_scale"] - law["exponent"] * numpy.log(x[i]))) / y[i])
    return {"name": name, "x": list(x), "y": list(y), **named(best, x, y), "residuals": list(residuals(best, x, y)),
            "intervals": intervals(best, loss, x, y), "held_out_error": float(numpy.sqrt(numpy.mean(numpy.square(left_out))))}


def law(x, scale, exponent, floor, noise, seed):
    random = numpy.random.default_rng(seed)
    return (floor + scale * numpy.asarray(x) ** -exponent) * (1 + noise * random.standard_normal(len(x)))


def main():
    tokens = numpy.geomspace(1e6, 1e9, 8)
    widths = numpy.array([8.0, 16, 32, 64, 128, 256])
    cases = [
        case("tokens with a floor", tokens, law(tokens, 30.0, 0.35, 0.08, 0.01, 1)),
        case("tokens, the floor at its bound", tokens, law(tokens, 6.0, 0.2, 0.0, 0.03, 12)),
        case("tokens without a floor", tokens, law(tokens, 6.0, 0.2, 0.0, 0.03, 2)),
        case("widths, noisy", widths, law(widths, 2.0, 0.9, 0.05, 0.03, 5)),
        case("tiny values", tokens, 1e-6 * law(tokens, 400.0, 0.4, 0.05, 0.005, 4)),
        case("twelve unsorted points", [700.0, 3, 5, 9, 17, 2, 33, 65, 129, 257, 300, 500],
             law([700.0, 3, 5, 9, 17, 2, 33, 65, 129, 257, 300, 500], 5.0, 1.5, 0.2, 0.05, 6)),
        case("places below 1", [0.001, 0.002, 0.004, 0.01, 0.03, 0.1, 0.5], law([0.001, 0.002, 0.004, 0.01, 0.03, 0.1, 0.5], 0.3, 0.6, 0.4, 0.01, 7)),
        case("little more than noise", widths, law(widths, 0.3, 0.3, 0.5, 0.03, 8)),
    ]
    quantiles = {str(degrees): float(stats.t.ppf(0.975, degrees)) for degrees in (1, 2, 3, 4, 5, 9, 10, 30)}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    (GOLDEN / "power_law.json").write_text(json.dumps({"student": quantiles, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main()
