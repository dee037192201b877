#!/usr/bin/env bash
# lorsa-cache from outside: what a user types, reads and gets.
. "$(dirname "$0")/harness.sh"

write_config() { # FILE OUT
  cat >"$1" <<YAML
layers: [0, 2]
model:  {path: $golden/model}
data:   {files: [$golden/corpus.jsonl], context_length: 16, holdout_fraction: 0.2}
out:    {path: $2, dtype: float32, shard_bytes: 24KiB}
run:    {device: cpu, batch_sequences: 4, threads: 1}
YAML
}
write_config a.yaml cache

begin "the command line"
run 2 lorsa-cache
err_has "lorsa-cache needs a command"
err_has "extract"
run 0 lorsa-cache --help
out_has "lorsa-cache extract .*--dry-run"
run 0 lorsa-cache --version
out_has "^lorsa-cache [0-9]+\.[0-9]+\.[0-9]+"
run 2 lorsa-cache extrakt a.yaml
err_has "unknown command 'extrakt'; commands: extract, info, verify"
err_lines 1
run 2 lorsa-cache extract
err_has "lorsa-cache extract needs CONFIG.yaml"
run 2 lorsa-cache extract a.yaml --fast
err_has "--fast"
run 0 lorsa-cache extract --help
out_has "^ +max_tokens: count"
out_has "^ +store: .*input_and_target"

begin "the configuration"
run 4 lorsa-cache extract absent.yaml
err_has "absent.yaml"
err_lines 1
sed 's/context_length/contextlength/' a.yaml >unknown.yaml
run 2 lorsa-cache extract unknown.yaml
err_has "unknown.yaml:3:[0-9]+: .*contextlength.*context_length"
err_lines 1
run 2 lorsa-cache extract a.yaml --set data.context_length=many
err_has "--set data.context_length"
run 2 lorsa-cache extract a.yaml --set layers=[7]
err_has "layers: 7: expected 0 to 2"
run 2 lorsa-cache extract a.yaml --set components=[mpl]
err_has "components: expected attention or mlp, found mpl"
run 2 lorsa-cache extract a.yaml --set data.context_length=100
err_has "data.context_length = 100 exceeds the 64 positions"
holds test ! -e cache

begin "the corpus"
run 4 lorsa-cache extract a.yaml --set data.files=[absent.jsonl]
err_has "absent.jsonl"
err_lines 1
: >empty.jsonl
run 3 lorsa-cache extract a.yaml --set data.files=[empty.jsonl]
err_has "empty.jsonl: corpus file is empty"
echo '{"text": "the river"}' >short.jsonl
run 3 lorsa-cache extract a.yaml --set data.files=[short.jsonl]
err_has "does not fill one row"
run 3 lorsa-cache extract a.yaml --set data.text_key=content
err_has "data.text_key = \"content\""
run 2 lorsa-cache extract a.yaml --set data.files=[a.yaml]
err_has "a.yaml: expected a name ending in .jsonl or .txt"
holds test ! -e cache

begin "the model"
run 4 lorsa-cache extract a.yaml --set model.path=absent
err_has "absent"
mkdir bad
cp "$golden"/model/* bad
head -c 50000 "$golden/model/model.safetensors" >bad/model.safetensors
run 3 lorsa-cache extract a.yaml --set model.path=bad
err_has "bad/model.safetensors"
sed 's/LlamaForCausalLM/MambaForCausalLM/' "$golden/model/config.json" >bad/config.json
run 3 lorsa-cache extract a.yaml --set model.path=bad
err_has "MambaForCausalLM"
cp "$golden"/model/* bad
rm bad/tokenizer.json
run 4 lorsa-cache extract a.yaml --set model.path=bad
err_has "tokenizer.json"
run 5 lorsa-cache extract a.yaml --set run.device=cuda:99
err_has "cuda:99"
holds test ! -e cache

begin "a dry run"
run 0 lorsa-cache extract a.yaml --dry-run
out_has "rows +77 \(the corpus ends there\)"
out_has "tokens +1232"
out_has "free +"
out_has "time +about"
holds test ! -e cache

begin "a folder that cannot be written"
if [ "$(id -u)" -ne 0 ]; then
  mkdir locked && chmod a-w locked
  run 4 lorsa-cache extract a.yaml --set out.path=locked/cache
  err_has "locked/cache"
fi
: >file
run 4 lorsa-cache extract a.yaml --set out.path=file/cache
err_has "file/cache"

begin "a file that cannot grow"
run 4 bash -c 'trap "" XFSZ; ulimit -f 60; exec lorsa-cache extract a.yaml --set out.path=full --set out.shard_bytes=1MiB'
err_has "full/layer-[02]"
holds test -z "$(find full -name 'shard-*')"
run 0 lorsa-cache extract a.yaml --set out.path=full --set out.shard_bytes=1MiB --quiet
run 0 lorsa-cache verify full --quiet

begin "extract, twice"
run 0 lorsa-cache extract a.yaml
out_has "cache/layer-0: 77 rows, 15 held out, 1232 tokens"
out_has "cache/layer-2: 77 rows"
err_has "the corpus ended after 1232 of data.max_tokens"
holds test -e cache/layer-2/attention.safetensors
before=$(stat -c %Y%i cache/layer-0/* | sort | tr '\n' ' ')
run 0 lorsa-cache extract a.yaml --quiet
out_has "already complete"
err_lines 0
holds test "$before" = "$(stat -c %Y%i cache/layer-0/* | sort | tr '\n' ' ')"
run 2 lorsa-cache extract a.yaml --set data.context_length=32
err_has "data.context_length: cache has 16, configuration says 32"
err_lines 1

begin "several ranks"
write_config ranks.yaml ranks
rank_pids=()
for rank in 2 1; do
  RANK=$rank WORLD_SIZE=3 LOCAL_RANK=$rank lorsa-cache extract ranks.yaml >"rank-$rank.out" 2>"rank-$rank.err" </dev/null &
  rank_pids+=($!)
done
run 0 env RANK=0 WORLD_SIZE=3 LOCAL_RANK=0 lorsa-cache extract ranks.yaml
out_has "ranks/layer-0: 77 rows"
wait "${rank_pids[@]}"
for rank in 1 2; do
  holds test ! -s "rank-$rank.out"
  holds test ! -s "rank-$rank.err"
done
last="diff of the caches of one and three ranks"
holds diff -r cache ranks
if command -v mpirun >/dev/null; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  run 0 mpirun -n 2 --oversubscribe "$(command -v lorsa-cache)" extract ranks.yaml --set out.path=mpi --quiet
  last="diff of the caches of one rank and mpirun's two"
  holds diff -r cache mpi
fi
run 5 env RANK=0 WORLD_SIZE=2 lorsa-cache extract a.yaml --set out.path=alone --set run.rank_timeout_s=1
err_has "waited .* for rank 1 to finish shard-00001.h5"
run 0 lorsa-cache extract a.yaml --set out.path=alone --quiet
last="diff of a cache that one of two ranks began"
holds diff -r cache alone
run 2 env RANK=2 WORLD_SIZE=2 lorsa-cache extract a.yaml --set out.path=none
err_has "environment: RANK: expected a number from 0 to 1, found '2'"
holds test ! -e none

begin "int8"
run 0 lorsa-cache extract a.yaml --set out.path=int8 --set out.dtype=int8 --quiet
run 0 lorsa-cache info int8
out_has "input_and_target, int8"
run 0 lorsa-cache verify int8 --quiet
run 2 lorsa-cache extract a.yaml --set out.path=int8
err_has "out.dtype: cache has int8, configuration says float32"

begin "info"
run 0 lorsa-cache info cache
out_has "^cache/layer-0$"
out_has "rows +77 of 16 tokens, 15 held out"
run 0 lorsa-cache info cache/layer-2 --json
out_has '"num_rows": 77'
out_has '"layer": 2'
cp out info.json
run 0 python3 -c 'import json; assert len(json.load(open("info.json"))) == 1'
run 4 lorsa-cache info absent
err_has "absent: expected a cache"

begin "verify"
run 0 lorsa-cache verify cache
out_has "cache/layer-0: sound, 77 rows"
cp -r cache corrupt
python3 - corrupt/layer-2/shard-00001.h5 <<'PY'
import os, sys
size = os.path.getsize(sys.argv[1])
with open(sys.argv[1], "r+b") as file:
    file.seek(size // 2)
    byte = file.read(1)[0]
    file.seek(size // 2)
    file.write(bytes([byte ^ 255]))
PY
run 3 lorsa-cache verify corrupt
out_has "corrupt/layer-0: sound"
out_has "corrupt/layer-2/shard-00001.h5"
err_has "defect"
truncate -s -100 corrupt/layer-0/shard-00000.h5
run 3 lorsa-cache verify corrupt/layer-0
out_has "corrupt/layer-0/shard-00000.h5"
rm corrupt/layer-0/shard-00002.h5
run 3 lorsa-cache verify corrupt/layer-0
out_has "shard-00002.h5"

begin "a signal"
write_config slow.yaml stopped
python3 - "$golden/corpus.jsonl" >long.jsonl <<'PY'
import sys
sys.stdout.write(open(sys.argv[1], encoding="utf-8").read() * 40)
PY
lorsa-cache extract slow.yaml --set data.files=[long.jsonl] >out 2>err </dev/null &
child=$!
for _ in $(seq 3000); do
  [ -e stopped/layer-2/shard-00001.h5 ] && break
  sleep 0.02
done
kill -TERM "$child"
wait "$child"
code=$?
last="lorsa-cache extract, SIGTERM"
holds test "$code" -eq 75
err_has "run the same command again to go on"
holds test -e stopped/layer-2/shard-00001.h5
run 0 lorsa-cache info stopped
out_has "unfinished"
run 0 lorsa-cache extract slow.yaml --set data.files=[long.jsonl] --quiet
run 0 lorsa-cache verify stopped --quiet
out_has "stopped/layer-0: sound"

begin "a full standard output"
run 4 bash -c 'lorsa-cache info cache >/dev/full'
err_has "standard output"

finish
