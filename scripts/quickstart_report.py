"""Prints what the quickstart came to: what the Lorsa is worth, and its clearest heads with the place where each acts most.

Reads the folder of the run, the evaluation's JSON and the head dump (docs/formats.md).
"""

import argparse
import json
import sys
import textwrap
from collections import Counter
from pathlib import Path

WIDTH = 120
NUM_HEADS = 5
# A head that acts at fewer tokens, or in fewer contexts, has not been seen enough to be called clear.
LEAST_RATE = 0.001
FEWEST_CONTEXTS = 8
# Of a head's positive z-pattern, what lies on the answers of a family's probe: above it, the head is a member.
FAMILY_SHARE = 0.5
# A token or a distance is named if it is that of so many places.
COMMON = 0.4
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


def print_quality(run, evaluation):
    training = read_json(run / "final" / "lorsa.json")["training"]
    layer, heads = evaluation["layer"], evaluation["num_ov_heads"]
    original, removed, replaced = (evaluation[f"ce_{name}"] for name in ("original", "zero_ablated", "replaced"))
    text = (
        f"{evaluation['model']} predicts the next token of documents that the Lorsa has not seen with a loss of {original:.2f} nats. "
        f"Without the attention of layer {layer} it is {removed:.2f}; with the Lorsa in its place it is {replaced:.2f}, "
        f"so the Lorsa's heads do {100 * evaluation['ce_recovered']:.0f} % of what the layer does for the prediction. They give "
        f"{100 * (1 - evaluation['fvu']):.0f} % of the variance of what the layer writes, and at a token only "
        f"{evaluation['l0']:.0f} of the {heads:,} heads act.")
    print(textwrap.fill(text, WIDTH))
    rows = [
        ("fvu", f"{evaluation['fvu']:.4f}", "share of the layer's variance that is left unexplained"),
        ("ce_recovered", f"{evaluation['ce_recovered']:.4f}", "share of the loss from removing the layer that is won back"),
        ("l0", f"{evaluation['l0']:.2f}", f"heads that act at a token, at most {evaluation['top_k']}"),
        ("dead", f"{100 * evaluation['dead_fraction']:.1f} %", f"heads that act nowhere in these {evaluation['num_tokens']:,} tokens"),
        ("tokens/s", f"{training['tokens'] / training['seconds']:,.0f}", f"in training, {training['tokens']:,} tokens"),
    ]
    print()
    for name, value, meaning in rows:
        print(f"  {name:<14}{value:>10}  {meaning}")


def read_heads(dump):
    heads = []
    for shard in sorted(dump.rglob("*.jsonl")):
        with open(shard, encoding="utf-8") as lines:
            heads += [head for head in map(json.loads, lines) if head["contexts"]]
    if not heads:
        sys.exit(f"quickstart_report: no head of {dump} acts anywhere")
    return heads


def acting(head):
    """The contexts in which the head acts: its strongest, then those drawn from its whole range."""
    return [context for context in head["contexts"] if context["sample"] in ("top", "quantile") and context["z_pattern"]]


def main_source(context):
    """Position of the source that gives most of the activation, and its share."""
    position, weight = max(context["z_pattern"], key=lambda entry: entry[1] * context["value"])
    return position, min(weight / context["value"], 1.0)


def token_at(context, position):
    for part in [context, *context["outside"]]:
        if 0 <= position - part["first"] < len(part["tokens"]):
            return part["tokens"][position - part["first"]]
    return None


def most_common(values):
    """The commonest value that is not None, and its share of all values."""
    known = Counter(value for value in values if value is not None)
    if not known:
        return None, 0.0
    value, count = known.most_common(1)[0]
    return value, count / len(values)


class Reading:
    """What a head reads, over the contexts in which it acts."""

    def __init__(self, head):
        self.head = head
        contexts = acting(head)
        sources = [main_source(context) for context in contexts]
        self.num_contexts = len(contexts)
        # Of the activation, how much comes from one source.
        self.share = sum(share for _, share in sources) / max(len(sources), 1)
        self.token, self.token_share = most_common([token_at(c, p) for c, (p, _) in zip(contexts, sources)])
        self.back, self.back_share = most_common([c["position"] - p for c, (p, _) in zip(contexts, sources)])

    def narrowness(self):
        """1: always one source, and always the same token or the same distance."""
        return self.share * max(self.token_share, self.back_share)


def clearest(heads, families):
    """[(head, family or None)]: the clearest head of each strong family, then those that read most narrowly."""
    enough = [head for head in heads if head["rate"] >= LEAST_RATE and len(acting(head)) >= FEWEST_CONTEXTS]
    reading = {head["head"]: Reading(head) for head in enough}

    def clarity(head, family):
        """Of what it reads where the family's answer is known, what lies there; of an activation, what one source gives."""
        return head.get("family_scores", {}).get(family, 0.0) * reading[head["head"]].share

    members = [(head, family) for head in enough for family in families if head.get("family_scores", {}).get(family, 0.0) > FAMILY_SHARE]
    members.sort(key=lambda member: (-clarity(*member), member[0]["head"]))
    rest = sorted(enough, key=lambda head: (-reading[head["head"]].narrowness(), head["head"]))
    chosen, heads_taken, families_taken = [], set(), set()
    for head, family in members + [(head, None) for head in rest]:
        if head["head"] not in heads_taken and family not in families_taken and len(chosen) < NUM_HEADS:
            chosen.append((head, family))
            heads_taken.add(head["head"])
            families_taken |= {family} - {None}
    return chosen


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


def print_head(head, family, answers, colour):
    reading = Reading(head)
    # Of its strongest places the one where most comes from a single source.
    strongest = [context for context in acting(head) if context["sample"] == "top"]
    context = max(strongest or acting(head), key=lambda each: main_source(each)[1])
    source, weight = main_source(context)
    title = "reads narrowly" if family is None else f"{family.replace('_', ' ')}: reads {answers[family]}"
    print(f"\n  Head {head['head']}, {title}" + ("" if family is None else f" (score {head['family_scores'][family]:.2f})"))
    what = []
    if reading.token_share >= COMMON:
        what.append(f"the token {json.dumps(reading.token, ensure_ascii=False)} in {100 * reading.token_share:.0f} %")
    if reading.back_share >= COMMON:
        distance = "the token itself" if reading.back == 0 else f"{reading.back} token{'s' if reading.back > 1 else ''} back"
        what.append(f"{distance} in {100 * reading.back_share:.0f} %")
    found = f", {' and '.join(what)} of {reading.num_contexts} places" if what else ""
    print(f"    reads   {100 * reading.share:.0f} % of an activation from one token{found}")
    promoted = ", ".join(json.dumps(text, ensure_ascii=False) for _, text, _ in head["logit_effect"]["top"][:5])
    print(f"    writes  makes {promoted} likelier")
    print(f"    where   acts at {100 * head['rate']:.1f} % of the tokens, strongly here ({100 * weight:.0f} % from the source):")
    print(f"            {context_text(context, source, colour)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run")
    parser.add_argument("--eval", type=Path, required=True, help="JSON of lorsa-eval")
    parser.add_argument("--dump", type=Path, required=True, help="folder of lorsa-dump")
    arguments = parser.parse_args()

    sys.stdout.reconfigure(encoding="utf-8", errors="replace")
    colour = sys.stdout.isatty()
    evaluation = read_json(arguments.eval)
    print_quality(arguments.run, evaluation)
    probes = evaluation["families"]["probes"]
    found = [f"{entry['num_heads']} {entry['family']}" for entry in probes if entry["num_heads"] > 0]
    print(f"\n  heads of known families: {', '.join(found).replace('_', ' ')}")
    answers = {entry["family"]: entry["answer"] for entry in probes}
    print(f"\nFive of the clearest heads, each at one of the places where it acts most: it reads the {marked('source', ['source'], colour)} "
          f"and writes at the {marked('target', ['target'], colour)}.")
    for head, family in clearest(read_heads(arguments.dump), list(answers)):
        print_head(head, family, answers, colour)
    print(f"\nAll numbers as plots: open {arguments.eval.with_suffix('.html')} in a browser.")
    print(f"All heads: open {arguments.dump / 'explorer' / 'index.html'} in a browser.")


if __name__ == "__main__":
    main()
