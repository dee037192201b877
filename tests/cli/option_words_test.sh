#!/usr/bin/env bash
# What the programs say of options that are missing, unknown, out of range, no numbers, or ask for more than a machine has.
. "$(dirname "$0")/harness.sh"

# says COMMAND... "LINE": exit code 2 and this one line, a regular expression, on standard error.
says() {
  local line="${*: -1}"
  run 2 "${@:1:$#-1}"
  err_has "^error: $line\$"
  err_lines 1
}

begin "what is missing, and where help is"
says lorsa-train "lorsa-train needs CONFIG.yaml \(see lorsa-train --help\)"
says lorsa-toy "lorsa-toy needs CONFIG.yaml \(see lorsa-toy --help\)"
says lorsa-sweep "lorsa-sweep needs CONFIG.yaml \(see lorsa-sweep --help\)"
says lorsa-eval "lorsa-eval needs CHECKPOINT and --cache \(see lorsa-eval --help\)"
says lorsa-eval run "lorsa-eval needs --cache \(see lorsa-eval --help\)"
says lorsa-dump run "lorsa-dump needs --cache, --model and --out \(see lorsa-dump --help\)"
says lorsa-convert "lorsa-convert needs INPUT and OUTPUT \(see lorsa-convert --help\)"
says lorsa-report "lorsa-report needs RUN and --out \(see lorsa-report --help\)"
says lorsa-cache "lorsa-cache needs a command: extract, info or verify \(see lorsa-cache --help\)"
says lorsa-cache extract "lorsa-cache extract needs CONFIG.yaml \(see lorsa-cache extract --help\)"
says lorsa-cache info "lorsa-cache info needs DIR \(see lorsa-cache info --help\)"

begin "what is unknown, and what may be meant"
says lorsa-eval run --cache c --max-row 3 "unknown option --max-row; did you mean --max-rows\? \(.*"
says lorsa-train a.yaml --dryrun "unknown option --dryrun; did you mean --dry-run\? \(.*"
says lorsa-train a.yaml --train.tokens=5 "unknown option --train.tokens; keys are set by --set KEY=VALUE \(.*"
says lorsa-train a.yaml -q "unknown option -q \(.*"
says lorsa-train a.yaml b.yaml "unexpected argument 'b.yaml' \(.*"
says lorsa-cache extrct a.yaml "unknown command 'extrct'; commands: extract, info, verify \(see lorsa-cache --help\)"
says lorsa-cache info c --jsn "unknown option --jsn; did you mean --json\? \(see lorsa-cache info --help\)"
says lorsa-convert a b --from gguf "--from: expected one of auto, lorsa, llamascopium, original, found 'gguf' \(.*"

begin "values that are missing, doubled or empty"
says lorsa-eval run --cache "--cache: expected a value behind it, found nothing \(.*"
says lorsa-eval run --cache c --quiet=maybe "--quiet: expected no value, found 'maybe' \(.*"
says lorsa-eval run --cache= "--cache: expected a value behind it, found nothing \(.*"
says lorsa-eval run --cache a --cache b "--cache: expected once, found 2 times \(.*"
says lorsa-eval run --cache "" "--cache: expected a folder, found an empty text .*"
says lorsa-eval run --cache c --model "" "--model: expected a folder, found an empty text .*"
says lorsa-train "" "CONFIG.yaml: expected a configuration file, found an empty text .*"

begin "numbers"
number="a whole number such as 512, 200k, 1.5M or 2B"
says lorsa-convert a b --n-ctx 0 "--n-ctx: expected 1 to 2147483647, found 0 \(see lorsa-convert --help\)"
says lorsa-convert a b --n-ctx -1 "--n-ctx: expected 1 to 2147483647, found -1 \(.*"
says lorsa-convert a b --n-ctx 2147483648 "--n-ctx: expected 1 to 2147483647, found 2147483648 \(.*"
# check OPTION LEAST COMMAND...: what is below, beyond 64 bits, or no number.
check() {
  local option=$1 least=$2
  shift 2
  says "$@" "$option" $((least - 1)) "$option: expected $least or more, found $((least - 1)) \(.*"
  says "$@" "$option" 99999999999999999999 "$option: expected $number that fits 64 bits, found '99999999999999999999' \(.*"
  says "$@" "$option" "" "$option: expected $number, found '' \(.*"
}
for option in --batch-sequences:1 --max-rows:0 --pattern-rows:0 --context-lengths:2 --prompt-tokens:1; do
  check "${option%:*}" "${option#*:}" lorsa-eval run --cache c
done
for option in --contexts:1 --quantile-contexts:0 --non-firing-contexts:0 --window:1 --max-rows:0 --delphi-splits:1 --seed:0; do
  check "${option%:*}" "${option#*:}" lorsa-dump run --cache c --model m --out o
done
for text in abc nan inf 1e5 0x10 1.5 " 5" 5x; do
  says lorsa-eval run --cache c --max-rows "$text" "--max-rows: expected $number, found '$text' \(.*"
done
says lorsa-eval run --cache c --max-rows 010 "--max-rows: expected $number without a leading zero .*, found '010' \(.*"
says lorsa-eval run --cache c --max-rows 99999999999999999999999999999999999 "--max-rows: expected $number that fits 64 bits, found '9+' \(.*"
says lorsa-eval run --cache c --threads 4097 "--threads: expected 0 to 4096, found 4097 \(.*"
says lorsa-eval run --cache c --context-lengths 512,1 "--context-lengths: expected 2 or more, found 1 \(.*"
for text in nan abc "" inf; do
  says lorsa-dump run --cache c --model m --out o --save-every "$text" "--save-every: expected a finite number, found '$text' \(.*"
done
says lorsa-dump run --cache c --model m --out o --save-every -1 "--save-every: expected 0 or more, found -1 \(.*"
run 4 lorsa-dump run --cache c --model m --out o --max-rows 1.5k
err_has "c: expected an activation cache .*, found nothing"

begin "keys of a configuration say the same"
tiny_configs 640
says lorsa-train train.yaml --set train.tokens=0 "--set train.tokens: expected 1 or more, found 0"
says lorsa-train train.yaml --set train.tokens=99999999999999999999 "--set train.tokens: expected $number that fits 64 bits, found '99999999999999999999'"
says lorsa-train train.yaml --set train.tokens=many "--set train.tokens: expected $number, found 'many'"
says lorsa-train train.yaml --set train.tokens= "--set train.tokens: expected count, found nothing"
says lorsa-train train.yaml --set train.learning_rate=nan "--set train.learning_rate: expected a finite number, found 'nan'"
says lorsa-train train.yaml --set run.threads=5000 "--set run.threads: expected 0 to 4096, found 5000"
says lorsa-train train.yaml --set tran.tokens=5 "--set tran.tokens: unknown section tran; did you mean train\?"
says lorsa-cache extract cache.yaml --set data.holdout_fraction=2 "--set data.holdout_fraction: expected 0 to 0.9, found 2"

begin "a cache to ask for too much"
run 0 lorsa-cache extract cache.yaml --set "layers=[0, 1]" --quiet
run 0 lorsa-train train.yaml --quiet
run 0 lorsa-convert --help
out_has "16 GiB at 131072"
run 4 lorsa-convert run/final peer --n-ctx 2147483647
err_has "peer: the disk cannot hold the checkpoint: 4.0 EiB needed, .* n_ctx x n_ctx bytes; .* free; a smaller --n-ctx needs less"
err_lines 1
run 4 lorsa-convert run/final peer --n-ctx 2147483647 --dry-run
err_has "4.0 EiB needed"
holds test ! -e peer -a ! -e peer.tmp
run 0 lorsa-convert run/final peer --n-ctx 8192 --dry-run
out_has "^would write +peer \(llamascopium, float32, about 6[45]\.[0-9] MiB\)"
dump() { lorsa-dump run/final --cache cache/layer-1 --model "$golden/model" --out dump --device cpu --quiet "$@"; }
run 0 dump --contexts 1000000000000  # no more than there are tokens
holds test -e dump/index.json
run 2 lorsa-train train.yaml --set data.batch_sequences=1M --set run.out=huge --set model.num_ov_heads=6M --set model.top_k=4
err_has "training on 1000000 sequences a step .*: .*iB of memory needed, this machine has "
holds test ! -e huge
run 0 lorsa-train train.yaml --set data.batch_sequences=1M --set model.num_ov_heads=6M --dry-run
out_has "^memory .*more than there is: "
cat >toy.yaml <<YAML
run: {out: toy, threads: 1}
corpus: {rows: 1B}
task: {kind: induction, context_length: 4096, segment: 6, noise_tokens: 5000}
model: {layers: 2}
YAML
run 2 lorsa-toy toy.yaml
err_has "corpus.rows = 1000000000: .* of memory needed"
holds test ! -e toy

begin "the folder above the layers, and others, in place of a cache"
refused() { # COMMAND...: exit code 3 and the layers to choose from
  run 3 "$@"
  err_has "^error: cache: expected an activation cache .*, found a folder of activation caches \(layer-0, layer-1\); name one of cache/layer-0, cache/layer-1$"
  err_lines 1
}
refused lorsa-train train.yaml --set run.out=other --set data.cache=cache
refused lorsa-eval run/final --cache cache --device cpu
refused lorsa-dump run/final --cache cache --model "$golden/model" --out other --device cpu
refused lorsa-convert "$LORSA_SOURCE/tests/golden/interchange/folded" other --cache cache
run 0 lorsa-cache info cache
run 0 lorsa-cache verify cache --quiet
run 3 lorsa-eval run/final --cache run/final --device cpu
err_has "run/final: expected an activation cache .*, found a checkpoint"
run 4 lorsa-eval run/final --cache nowhere --device cpu
err_has "nowhere: expected an activation cache .*, found nothing"
run 3 lorsa-eval run --cache cache/layer-1 --device cpu
err_has "run: expected a checkpoint .*, found a training's run folder; .*run/final"
holds test ! -e other -a ! -e other.tmp

begin "where results cannot go is known before the work"
run 4 lorsa-eval run/final --cache cache/layer-1 --device cpu --out nowhere/eval.json
err_has "nowhere/eval.json: cannot write into nowhere: No such file"
holds test ! -s out
run 4 lorsa-eval run/final --cache cache/layer-1 --device cpu --html cache
err_has "cache: cannot write: a folder of that name"
run 4 lorsa-report run --out nowhere/report.html
err_has "nowhere/report.html: cannot write into nowhere"

finish
