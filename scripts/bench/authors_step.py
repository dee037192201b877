#!/usr/bin/env python3
"""Times a training step of this library against one of the authors' (llamascopium 2.0.0b34), in turn, on the same weights and batch.

Needs torch and tqdm, build/bin/lorsa-bench-step, and in a folder PEER that PYTHONPATH names:
  pip install --no-deps --target PEER llamascopium==2.0.0b34 einops jaxtyping wadler-lindig pydantic pydantic-core annotated-types \\
    typing-inspection
  PYTHONPATH=PEER scripts/bench/authors_step.py --work FOLDER [--checkpoint FOLDER --cache FOLDER]

Two cases: random weights and data of --size; with --checkpoint and --cache trained weights and rows of a cache. Of each case the two
sides are processes of their own; one waits while the other takes a step, warmed up by a step that is not counted. Their losses must agree.

The authors' step is an iteration of their own Trainer.fit(): normalize_activations, compute_loss (their topk over all heads, SDPA, dense
decode, mean over the unmasked tokens), backward, the gradients' norm and clipping (their default, 0, clips nothing), torch's foreach
Adam, zero_grad, their learning rate schedule, a progress bar. float32 (amp_dtype), not compiled, other settings as they default, but K is not
annealed, nothing is logged or saved, and their metrics of every step are left out, as their trainer can (skip_metrics_calculation);
--authors-metrics puts them back. TransformerLens, wandb and the Hugging Face hub are stood in for by names: a step of theirs uses none but
TransformerLens' hook points, identities here and there. This library's step is lorsa-bench-step's: forward, loss, backward, the gradients' norm, Adam.
"""
import argparse
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import types

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOLERANCE = 1e-4  # of the losses: sums of float32 in two orders, and heads whose scores tie


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


def authors_classes():
    """Their model and trainer without what only serves language models, hooks and uploads."""
    import torch

    class HookedRootModule(torch.nn.Module):
        def setup(self):
            pass

    nothing = type("Nothing", (), {})
    stand_in("transformer_lens", __version__="", HookedTransformer=nothing)
    stand_in("transformer_lens.components", Attention=nothing, GroupedQueryAttention=nothing)
    stand_in("transformer_lens.components.mlps")
    stand_in("transformer_lens.components.mlps.can_be_used_as_mlp", CanBeUsedAsMLP=nothing)
    stand_in("transformer_lens.hook_points", HookPoint=torch.nn.Identity, HookedRootModule=HookedRootModule)
    stand_in("wandb")
    stand_in("wandb.sdk")
    stand_in("wandb.sdk.wandb_run", Run=nothing)
    hub = ("constants", "create_repo", "hf_hub_download", "repo_exists", "snapshot_download", "try_to_load_from_cache", "upload_folder")
    stand_in("huggingface_hub", **dict.fromkeys(hub))
    folder = pathlib.Path(importlib.util.find_spec("llamascopium").submodule_search_locations[0])
    stand_in("llamascopium").__path__ = [str(folder)]
    stand_in("llamascopium.backend").__path__ = [str(folder / "backend")]
    stand_in("llamascopium.backend.language_model", LanguageModelConfig=nothing)
    from llamascopium.models.lorsa import LowRankSparseAttention
    from llamascopium.trainer import Trainer, TrainerConfig

    return LowRankSparseAttention, Trainer, TrainerConfig


class DrivenBatches:
    """The stream that their trainer reads: hands out the batch for every line of standard input and, when it is asked for the next one,
    reports the seconds since and the loss."""

    def __init__(self, batch, loss, reports):
        self.batch, self.loss, self.reports = batch, loss, reports
        self.start = None
        self.looked_at = False

    def __iter__(self):
        return self

    def __next__(self):
        if not self.looked_at:  # by the trainer's set-up, for its size
            self.looked_at = True
            return dict(self.batch)
        if self.start is not None:
            print(f"{time.perf_counter() - self.start:.9g} {self.loss():.9g}", file=self.reports, flush=True)
        if not sys.stdin.readline():
            raise StopIteration
        self.start = time.perf_counter()
        return dict(self.batch)


def be_driven(arguments):
    """The authors' side: as lorsa-bench-step --driven."""
    reports = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(arguments.threads)
    model_class, trainer_class, config_class = authors_classes()
    model = model_class.from_pretrained(str(arguments.driven))
    stored = load_file(arguments.driven / "batch.safetensors")
    batch = {model.cfg.hook_point_in: stored["input"], model.cfg.hook_point_out: stored["target"], "mask": stored["scored"],
             "tokens": torch.zeros(stored["scored"].shape, dtype=torch.int32)}
    trainer = trainer_class(config_class(
        lr=1e-6, amp_dtype=torch.float32, k_warmup_steps=0, n_checkpoints=0, log_frequency=1 << 60, total_training_tokens=1 << 60,
        skip_metrics_calculation=not arguments.authors_metrics, exp_result_path=str(arguments.driven / "authors")))
    last = {}
    compute_loss = model.compute_loss

    def recorded(*args, **kwargs):
        result = compute_loss(*args, **kwargs)
        last["loss"] = result["loss"].detach()
        return result

    model.compute_loss = recorded
    # Theirs is a sum over the width, ours a mean.
    trainer.fit(model, DrivenBatches(batch, lambda: last["loss"].item() / model.cfg.d_model, reports))


class Side:
    """A process that takes a step for every line that it is sent."""

    def __init__(self, name, command, threads, log):
        self.name, self.log = name, log
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with open(log, "w") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)

    def step(self):
        """Seconds and loss."""
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            seconds, loss = self.process.stdout.readline().split()
        except (BrokenPipeError, ValueError):
            sys.exit(f"authors_step: {self.name} ended, see {self.log}:\n{self.log.read_text()[-2000:]}")
        return float(seconds), float(loss)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def compare(name, program, chosen, arguments):
    folder = arguments.work / name
    folder.mkdir(parents=True, exist_ok=True)
    threads = ["--threads", str(arguments.threads)]
    subprocess.run([program, *chosen, *threads, "--case-out", folder], check=True)
    authors = [sys.executable, __file__, "--driven", folder, *threads] + ["--authors-metrics"] * arguments.authors_metrics
    sides = [Side("lorsa-bench-step", [program, *chosen, *threads, "--driven"], arguments.threads, folder / "lorsa.log"),
             Side("the authors' trainer", authors, arguments.threads, folder / "authors.log")]
    seconds = [[], []]
    (_, lorsa), (_, theirs) = [side.step() for side in sides]
    if not abs(lorsa - theirs) <= TOLERANCE * abs(theirs):
        sys.exit(f"authors_step: {name}: the losses {lorsa:.7g} and {theirs:.7g} of the first step disagree: not the same model")
    for _ in range(arguments.rounds):
        for side, times in zip(sides, seconds):
            times.append(side.step()[0])
    for side in sides:
        side.end()
    config = json.loads((folder / "config.json").read_text())
    median = [statistics.median(times) for times in seconds]
    ratios = sorted(b / a for a, b in zip(*seconds))
    return {"case": name, "d_model": config["d_model"], "heads": round(config["d_model"] * config["expansion_factor"]),
            "qk_heads": config["n_qk_heads"], "top_k": config["top_k"], "context": config["n_ctx"], "threads": arguments.threads,
            "rounds": arguments.rounds, "loss": lorsa, "authors_loss": theirs, "step_s": median[0], "authors_step_s": median[1],
            "ratio": median[1] / median[0], "ratio_quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, help="folder for weights and batches")
    parser.add_argument("--size", default="768,6144,96,64,64,256,4", help="of random data: D,H,S,E,K,T,batch (%(default)s)")
    parser.add_argument("--checkpoint", help="trained weights")
    parser.add_argument("--cache", help="whose rows they are timed on")
    parser.add_argument("--batch", type=int, default=4, help="rows of the cache (%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="steps of each side (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of each side (%(default)s)")
    parser.add_argument("--authors-metrics", action="store_true", help="with the metrics that their trainer computes at every step")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    parser.add_argument("--driven", type=pathlib.Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.driven:
        return be_driven(arguments)
    if not arguments.work or bool(arguments.checkpoint) != bool(arguments.cache):
        parser.error("--work is needed, and --checkpoint and --cache go together")
    program = pathlib.Path(os.environ.get("LORSA_BUILD_DIR", ROOT / "build")) / "bin" / "lorsa-bench-step"
    cases = {"random": ["--size", arguments.size]}
    if arguments.checkpoint:
        cases["trained"] = ["--checkpoint", arguments.checkpoint, "--cache", arguments.cache, "--batch", str(arguments.batch)]
    figures = [compare(name, program, chosen, arguments) for name, chosen in cases.items()]
    print("| weights and data | threads | rounds | lorsa step ms | authors' step ms | ratio | quartiles of the rounds' ratios | loss | authors' loss |\n"
          "|---|---|---|---|---|---|---|---|---|")
    for f in figures:
        low, high = f["ratio_quartiles"]
        print(f"| {f['case']}: D {f['d_model']}, H {f['heads']}, S {f['qk_heads']}, K {f['top_k']}, T {f['context']} | {f['threads']} "
              f"| {f['rounds']} | {1e3 * f['step_s']:.1f} | {1e3 * f['authors_step_s']:.1f} | {f['ratio']:.2f} | {low:.2f} to {high:.2f} "
              f"| {f['loss']:.7g} | {f['authors_loss']:.7g} |")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
