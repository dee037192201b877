#!/usr/bin/env python3
"""Prints the values that tests/unit/data/sampler_test.cpp expects: the permutation, written a second time."""

MASK = 2**64 - 1


def mix64(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) & MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def permute(index: int, size: int, seed: int) -> int:
    half = 1
    while 4**half < size:
        half += 1
    keys, key = [], seed
    for _ in range(4):
        key = mix64((key + 0x9E3779B97F4A7C15) & MASK)
        keys.append(key)
    value = index
    while True:
        left, right = value >> half, value % 2**half
        for key in keys:
            left, right = right, left ^ (mix64(right ^ key) % 2**half)
        value = (left << half) | right
        if value < size:
            return value


if __name__ == "__main__":
    print("size 10, seed 0:", [permute(i, 10, 0) for i in range(10)])
    print("size 1000, seed 123456789, first 6:", [permute(i, 1000, 123456789) for i in range(6)])
    print("size 10^12, seed 2^64-1, 999999999999:", permute(10**12 - 1, 10**12, MASK))
