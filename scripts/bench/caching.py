#!/usr/bin/env python3
"""Times lorsa-cache against Hugging Face transformers on the same layers and prints the ratio.

usage: scripts/bench/caching.py [--rounds N] [--tokens N] [--layer N]

Both run SmolLM2-135M in float32 on 2 threads, 8 rows of 256 tokens a pass, up to the attention of the layer (17).
lorsa-cache is timed as it is used: tokenizing, statistics and writing included, the rate being the one it prints.
transformers is given every advantage: rows ready in memory, blocks above the layer removed, its MLP skipped, nothing
written. Peak memory is the largest resident size of each process; that of lorsa-cache includes what it maps of the model's files, that of
transformers is one process for all rounds with its packages loaded, of which the size before the model was loaded is also printed. Rounds alternate between the two, so that other load on the machine meets both; the ratio is that of the medians.

LORSA_BUILD_DIR names another build than build/. Needs scripts/fetch_smollm2.sh, scripts/make_corpus.py and scripts/build.sh to have run, and a Python with the packages
of scripts/golden/requirements.txt beside torch.
"""
import argparse
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONTEXT, BATCH, THREADS = 256, 8, 2
UNITS = {"": 1.0, "k": 1e3, "M": 1e6}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=20480, help="tokens of each round")
    parser.add_argument("--layer", type=int, default=17)
    return parser.parse_args()


def peak_bytes(pid):
    """Largest resident size so far; 0 of a process that has ended. (ru_maxrss of a child begins with its parent's.)"""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def lorsa_round(program, tokens, layer, folder):
    """Tokens per second and share of waiting for writing that one `lorsa-cache extract` into an empty folder reports, and its peak memory."""
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"data.max_tokens={tokens}", f"data.context_length={CONTEXT}", f"layers=[{layer}]",
                "model.path=quickstart/model", "data.files=[quickstart/corpus.jsonl]", "model.dtype=float32",
                f"out.path={folder}", f"run.batch_sequences={BATCH}", f"run.threads={THREADS}", "run.device=cpu"]
    command = [program, "extract", "configs/smollm2-cache.yaml", "--quiet"]
    command += [word for setting in settings for word in ("--set", setting)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_bytes(process.pid))
            time.sleep(0.02)
        output.seek(0)
        text = output.read()
    found = re.search(r"([0-9.]+)([kM]?) tokens/s.* ([0-9.]+) % waiting for writing", text)
    if process.returncode or not found:
        sys.exit(f"caching: {' '.join(map(str, command))} ended with {process.returncode}:\n{text}")
    return float(found.group(1)) * UNITS[found.group(2)], float(found.group(3)), peak


class Stop(Exception):
    """Leaves the forward pass once the layer's attention is done."""


class Transformers:
    def __init__(self, layer):
        import torch
        import transformers
        self.torch = torch
        torch.set_num_threads(THREADS)
        torch.set_grad_enabled(False)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(
            ROOT / "quickstart" / "model", dtype=torch.float32).model.eval()
        self.model.layers = self.model.layers[:layer + 1]
        block = self.model.layers[layer]
        block.input_layernorm.register_forward_pre_hook(self.take_input)
        block.self_attn.register_forward_hook(self.take_target)
        self.eps = block.input_layernorm.variance_epsilon
        self.description = f"transformers {transformers.__version__}, attention {self.model.config._attn_implementation}"

    def take_input(self, _, args):
        x = args[0]
        self.input = (x * self.torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)).bfloat16()

    def take_target(self, _, args, output):
        self.target = output[0].bfloat16()
        raise Stop

    def rate(self, tokens):
        passes = max(1, round(tokens / (CONTEXT * BATCH)))
        rows = self.torch.randint(0, 49152, (passes, BATCH, CONTEXT))
        start = time.perf_counter()
        for row in rows:
            try:
                self.model(row, use_cache=False)
            except Stop:
                pass
        return rows.numel() / (time.perf_counter() - start)


def main():
    arguments = parse_arguments()
    program = ROOT / os.environ.get("LORSA_BUILD_DIR", "build") / "bin" / "lorsa-cache"
    for path in (program, ROOT / "quickstart" / "model" / "config.json", ROOT / "quickstart" / "corpus.jsonl"):
        if not path.exists():
            sys.exit(f"caching: {path} is missing: run scripts/build.sh, scripts/fetch_smollm2.sh, scripts/make_corpus.py")
    # Read before LibTorch starts its pool, by both.
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    import torch  # noqa: F401
    import transformers  # noqa: F401
    packages = peak_bytes("self")
    other = Transformers(arguments.layer)
    other.rate(CONTEXT * BATCH)  # the first pass is slower
    ours, theirs, waits, peaks = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            rate, wait, peak = lorsa_round(program, arguments.tokens, arguments.layer, pathlib.Path(folder) / "cache")
            ours.append(rate)
            waits.append(wait)
            peaks.append(peak)
            theirs.append(other.rate(arguments.tokens))
            print(f"lorsa-cache {ours[-1]:7.0f} tokens/s   transformers {theirs[-1]:7.0f} tokens/s", flush=True)
    print(f"layer {arguments.layer}, float32, {THREADS} threads, {BATCH} rows of {CONTEXT}; {other.description}")
    print(f"median      {statistics.median(ours):7.0f} tokens/s   transformers {statistics.median(theirs):7.0f} tokens/s")
    print(f"ratio {statistics.median(ours) / statistics.median(theirs):.2f}")
    mib, peak = 2.0 ** 20, statistics.median(peaks)
    theirs_peak = peak_bytes("self")
    print(f"peak memory {peak / mib:.0f} MiB   transformers {theirs_peak / mib:.0f} MiB (packages {packages / mib:.0f})   ratio {peak / theirs_peak:.2f}")
    print(f"waiting for writing {statistics.median(waits):.1f} % (most {max(waits):.1f} %)")


if __name__ == "__main__":
    main()
