#!/usr/bin/env python3
"""A training step on a CUDA device on paper: what every phase moves and computes, as the code is, against rates that a user states.

usage: scripts/bench/paper_step.py [--size D,H,S,E,K,T,B] [--kept-queries SHARE] [--kernels LIBRARY]

Bytes and FLOPs are counted from the code named beside each phase; the rates are those of public measurements of an H200 and options here:
nothing below was measured. Floor: products at --gemm, attention's seven products of the causal half at --gemm, the sparse kernels' and Adam's
bytes at --bandwidth, as lorsa-bench-step counts them (scripts/bench/step_floor.h). --kernels build/lib.../liblorsa_cuda.so adds registers, shared
memory and resident threads of the kernels (cuobjdump, of the CUDA toolkit or of the Python package triton).
"""
import argparse
import importlib.util
import pathlib
import re
import shutil
import subprocess


def phases(o):
    D, H, S, E, K, T, B = o.size
    P = B * T
    G = H // S
    W = 2 * S * E + H  # rows of W_Q, W_K and W_V
    weights = (2 * S * E + 2 * H) * D
    causal = B * S * T * (T + 1) / 2
    gemm, band = o.gemm * 1e12, o.bandwidth * 1e12

    def moved(count):
        return count / band * 1e3

    def multiplied(flops, rate):
        return flops / rate * 1e3

    q_grad = multiplied(2 * P * S * E * D, gemm)
    if o.kept_queries < 1:
        q_grad = multiplied(2 * o.kept_queries * P * S * E * D, o.gathered * 1e12)
    act = 2 * P * (2 * S * E)  # q and k, or their gradients, in bfloat16
    return [
        ("batch: scale, deviation, casts", "train/batch_queue.cpp", moved(44 * P * D), 0.0),
        ("three projections", "kernels/product.cpp, cuBLAS", multiplied(2 * P * D * W, gemm), multiplied(2 * P * D * W, gemm)),
        ("RoPE of q and k", "cuda/rope.cu", moved(2 * act), 0.0),
        ("attention forward", "cuDNN", multiplied(causal * 2 * (E + G), o.attention * 1e12), multiplied(causal * 2 * (E + G), gemm)),
        ("top-k", "cuda/top_k.cu", o.top_k_passes * moved(2 * P * H), moved(2 * P * H)),
        ("decode, loss, gradient of the values", "cuda/sparse_decode.cu", moved(2 * P * K * D + 8 * P * D), moved(2 * P * K * D + 3 * P * D)),
        ("decode backward: W_O by heads, sort", "cuda/sparse_decode_backward.cu", moved(2 * P * K * D + 24 * P * K * 2 + 4 * H * D + 2 * P * D),
         moved(2 * P * K * D + 3 * P * D)),
        ("z's gradient spread over heads", "scatter_kept", moved(2 * P * H + 6 * P * K), moved(2 * P * H)),
        ("attention backward", "cuDNN, dQ summed in float32",
         multiplied(causal * 2 * (3 * E + 2 * G), o.attention_backward * 1e12) + moved(2 * 4 * P * S * E), multiplied(causal * 2 * (3 * E + 2 * G), gemm)),
        ("weight gradients of K and V", "kernels/product.cpp, cuBLAS", multiplied(2 * P * D * (W - S * E), gemm), multiplied(2 * P * D * (W - S * E), gemm)),
        ("weight gradient of Q", "cuda/gathered_product.cu" if o.kept_queries < 1 else "kernels/product.cpp, cuBLAS", q_grad, multiplied(2 * P * D * S * E, gemm)),
        ("RoPE of the gradients", "cuda/rope.cu", moved(2 * act), 0.0),
        ("sums of the biases' gradients", "at::sum", moved(act + 2 * P * H), 0.0),
        ("norm and Adam", "cuda/adam.cu", moved(34 * weights), moved(34 * weights)),
        ("launches and one wait", "about 60 launches, 5 us each", 0.3, 0.0),
    ]


def resources(library):
    tool = shutil.which("cuobjdump")
    if tool is None:
        found = importlib.util.find_spec("triton")
        tool = found and pathlib.Path(found.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    if tool is None or not pathlib.Path(tool).exists():
        raise SystemExit("paper_step: --kernels needs cuobjdump, which is neither on the PATH nor in triton")
    text = subprocess.run([tool, "--dump-resource-usage", library], check=True, capture_output=True, text=True).stdout
    rows = re.findall(r"Function (\S+):\n\s*REG:(\d+) STACK:(\d+) SHARED:(\d+)", text)
    print("\n| kernel | registers | stack bytes | static shared bytes | threads an SM can hold |\n|---|---|---|---|---|")
    for name, registers, stack, shared in sorted(set(rows)):
        pretty = subprocess.run(["c++filt", "-p", name], capture_output=True, text=True).stdout.strip()
        if "lorsa" in pretty:
            held = min(2048, 65536 // (-(-int(registers) // 8) * 8) // 32 * 32)
            print(f"| {pretty.split('lorsa::kernels::')[-1]} | {registers} | {stack} | {shared} | {held} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=lambda text: [int(part) for part in text.split(",")], default=[4096, 32768, 256, 128, 64, 1024, 64])
    parser.add_argument("--gemm", type=float, default=790, help="TFLOP/s of cuBLAS in bfloat16")
    parser.add_argument("--attention", type=float, default=500, help="TFLOP/s of cuDNN's causal forward pass")
    parser.add_argument("--attention-backward", type=float, default=375, help="and of its backward pass")
    parser.add_argument("--gathered", type=float, default=400, help="TFLOP/s of the product over gathered rows")
    parser.add_argument("--bandwidth", type=float, default=4.3, help="TB/s")
    parser.add_argument("--kept-queries", type=float, default=1.0, help="share of (position, QK head) pairs that own a kept head; 1: all are multiplied")
    parser.add_argument("--top-k-passes", type=float, default=4.0, help="time of the top-k in passes over z at full bandwidth")
    parser.add_argument("--kernels", help="liblorsa_cuda.so")
    o = parser.parse_args()
    rows = phases(o)
    tokens = o.size[5] * o.size[6]
    print("| phase | where | ms as the code is | ms at the floor |\n|---|---|---|---|")
    for name, where, own, floor in rows:
        print(f"| {name} | {where} | {own:.1f} | {floor:.1f} |")
    own, floor = (sum(row[column] for row in rows) for column in (2, 3))
    print(f"| **step** | | **{own:.0f}** | **{floor:.0f}** |\n")
    print(f"{tokens / own:.0f}k tokens/s of {tokens / floor:.0f}k at the floor: {floor / own:.2f}")
    if o.kernels:
        resources(o.kernels)


if __name__ == "__main__":
    main()
