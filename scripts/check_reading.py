#!/usr/bin/env python3
"""Prints what an evaluation says of induction heads and what they cause, against what is expected of them.

usage: scripts/check_reading.py EVALUATION.json --under 3,4,5 [--least-heads N] [--least-ratio X]

EVALUATION.json comes from lorsa-eval --ablate-heads induction --random-control --prompts scripts/plain_sentences.txt; --under names the
MHSA heads that are induction heads themselves. Ends with exit code 1 if something is missed. On plain text the loss hardly moves and may
fall as well as rise, so the sizes of the changes are compared, and KL, which says how much predictions change, whichever way.
"""
import argparse
import json
import sys
from pathlib import Path

SHARE_UNDER, PLAIN = 0.8, 1.2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--under", required=True, help="comma-separated MHSA heads")
    parser.add_argument("--least-heads", type=int, default=100)
    parser.add_argument("--least-ratio", type=float, default=5.0, help="of the rises on repeated tokens")
    arguments = parser.parse_args()
    report = json.loads(arguments.evaluation.read_text(encoding="utf-8"))
    family = next(f for f in report["families"]["probes"] if f["family"] == "induction")
    wanted = {int(head) for head in arguments.under.split(",")}
    under = sum(entry["num_heads"] for entry in family["closest_mhsa_heads"] if entry["mhsa_head"] in wanted)
    share = under / max(1, family["num_heads"])
    interventions = report["interventions"]
    if len(interventions["ablated_heads"]) != family["num_heads"]:
        sys.exit(f"check_reading: {arguments.evaluation}: other heads were ablated than the induction heads")
    repeated, heldout, plain = (interventions[key] for key in ("repeated_tokens", "heldout", "prompt_text"))
    rises = (abs(plain["rise"]), abs(plain["control_rise"]))
    rows = [
        (f"induction heads, of {family['num_scored']} scored", f"{family['num_heads']}", f">= {arguments.least_heads}",
         family["num_heads"] >= arguments.least_heads),
        (f"share under QK heads closest to MHSA heads {arguments.under}", f"{share:.3f}", f">= {SHARE_UNDER}", share >= SHARE_UNDER),
        (f"repeated tokens: rise {repeated['rise']:.4f} against {repeated['control_rise']:.4f} nats", f"{repeated['rise_ratio'] or 0:.2f}",
         f">= {arguments.least_ratio}", (repeated["rise_ratio"] or 0) >= arguments.least_ratio),
        (f"plain sentences: rise {plain['rise']:.4f} against {plain['control_rise']:.4f} nats, sizes", f"{rises[0] / rises[1]:.3f}",
         f"<= {PLAIN}", rises[0] <= PLAIN * rises[1]),
        (f"plain sentences: KL {plain['kl']:.5f} against {plain['control_kl']:.5f}", f"{plain['kl_ratio']:.3f}", f"<= {PLAIN}",
         plain["kl_ratio"] <= PLAIN),
    ]
    for name, value, expected, reached in rows:
        print(f"{name:<70}{value:>10}  {expected:<24}{'reached' if reached else 'missed'}")
    print(f"for comparison, held-out rows of the cache: rise {heldout['rise']:.4f} against {heldout['control_rise']:.4f} nats, "
          f"KL {heldout['kl']:.5f} against {heldout['control_kl']:.5f}")
    sys.exit(0 if all(row[3] for row in rows) else 1)


if __name__ == "__main__":
    main()
