"""Prints what the quickstart came to: quality, speed, and the most used heads with the place where each acts most.

Reads the folder of the run, the evaluation's JSON and the head dump (docs/formats.md).
"""

import argparse
import json
import sys
from pathlib import Path

NUM_HEADS = 5
TOKENS_BEFORE = 24
TOKENS_AFTER = 6
MARKS = {"source": ("«", "»"), "target": ("⟦", "⟧")}
COLOURS = {"source": "\033[32m", "target": "\033[1;33m"}
RESET = "\033[0m"


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"quickstart_report: {path}: {error}")


def print_table(run, evaluation):
    training = read_json(run / "final" / "lorsa.json")["training"]
    rows = [
        ("fvu", f"{evaluation['fvu']:.4f}", "unexplained share of the layer's variance"),
        ("l0", f"{evaluation['l0']:.2f}", f"heads at a token, at most {evaluation['top_k']}"),
        ("dead", f"{100 * evaluation['dead_fraction']:.1f} %",
         f"of {evaluation['num_ov_heads']:,} heads are silent in these tokens"),
        ("ce_recovered", f"{evaluation['ce_recovered']:.4f}",
         f"of the loss that removing the layer costs ({evaluation['ce_original']:.3f} to "
         f"{evaluation['ce_zero_ablated']:.3f} nats, replaced {evaluation['ce_replaced']:.3f})"),
        ("tokens/s", f"{training['tokens'] / training['seconds']:,.0f}",
         f"in training, {training['tokens']:,} tokens"),
    ]
    print(f"Layer {evaluation['layer']} of {evaluation['model']}, held-out documents "
          f"({evaluation['num_tokens']:,} tokens):\n")
    for name, value, meaning in rows:
        print(f"  {name:<14}{value:>10}  {meaning}")


def print_families(evaluation):
    found = [f"{entry['num_heads']} {entry['family']}" for entry in evaluation["families"]["probes"] if entry["num_heads"] > 0]
    print(f"\n  head families: {', '.join(found).replace('_', ' ')}")


def most_used(dump):
    heads = []
    for shard in sorted(dump.rglob("*.jsonl")):
        with open(shard, encoding="utf-8") as lines:
            heads += [head for head in map(json.loads, lines) if head["contexts"]]
    if not heads:
        sys.exit(f"quickstart_report: no head of {dump} acts anywhere")
    return sorted(heads, key=lambda head: (-head["count"], head["head"]))[:NUM_HEADS]


def marked(token, kinds, colour):
    """A token on one line, wrapped in the marks of what it is in this context."""
    text = token.replace("\n", "⏎").replace("\t", "⇥")
    for kind in kinds:
        left, right = MARKS[kind]
        text = f"{left}{text}{right}"
        if colour:
            text = f"{COLOURS[kind]}{text}{RESET}"
    return text


def join(tokens, first, begin, end, positions, colour):
    """The tokens at row positions [begin, end); tokens[0] stands at `first`."""
    return "".join(marked(tokens[place - first], [kind for kind in MARKS if positions[kind] == place], colour)
                   for place in range(begin, end))


def context_text(context, source, colour):
    tokens, first, target = context["tokens"], context["first"], context["position"]
    positions = {"source": source, "target": target}
    begin = max(first, target - TOKENS_BEFORE)
    end = min(first + len(tokens), target + 1 + TOKENS_AFTER)
    text = join(tokens, first, begin, end, positions, colour)
    if source >= begin:
        return text
    # A source that lies far back is shown with its neighbours.
    for snippet in context["outside"]:
        if snippet["position"] == source:
            tokens, first = snippet["tokens"], snippet["first"]
            far = join(tokens, first, first, min(begin, first + len(tokens)), positions, colour)
            return f"{far} … {text}"
    near = join(tokens, first, max(first, source - TOKENS_AFTER), min(begin, source + 1 + TOKENS_AFTER), positions, colour)
    return f"{near} … {text}"


def print_head(head, colour):
    context = head["contexts"][0]
    source, weight = max(context["z_pattern"], key=lambda entry: abs(entry[1]))
    back = context["position"] - source
    distance = "from the token itself" if back == 0 else f"from the source {back} token{'s' if back > 1 else ''} back"
    promoted = ", ".join(json.dumps(text, ensure_ascii=False) for _, text, _ in head["logit_effect"]["top"][:4])
    print(f"\n  head {head['head']} (QK head {head['qk_head']}): acts at {100 * head['rate']:.1f} % of the tokens, "
          f"promotes {promoted}")
    print(f"    activation {context['value']:.2f}, {100 * weight / context['value']:.0f} % of it {distance}:")
    print(f"    {context_text(context, source, colour)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--eval", type=Path, required=True, help="JSON of lorsa-eval")
    parser.add_argument("--dump", type=Path, required=True, help="folder of lorsa-dump")
    arguments = parser.parse_args()

    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    colour = sys.stdout.isatty()
    evaluation = read_json(arguments.eval)
    print_table(arguments.run, evaluation)
    print_families(evaluation)
    print(f"\nThe {NUM_HEADS} most used heads, each where it acts most: it reads the {marked('source', ['source'], colour)} "
          f"and writes at the {marked('target', ['target'], colour)}.")
    for head in most_used(arguments.dump):
        print_head(head, colour)
    print(f"\nAll numbers as plots: open {arguments.eval.with_suffix('.html')} in a browser.")
    print(f"All heads: open {arguments.dump / 'explorer' / 'index.html'} in a browser.")


if __name__ == "__main__":
    main()
