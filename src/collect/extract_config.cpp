#include "lorsa/collect/extract_config.h"

namespace lorsa::collect {

void describe(config::Fields& fields, ExtractConfig& config) {
  fields.count_list("layers", config.layers, "Layers that are cached, counted from 0.").required();
  fields.text_list(
      "components", config.components,
      "Of every layer: attention (folder layer-N), mlp (folder layer-N-mlp), or both.");

  fields.section("model", "The language model.");
  fields
      .text("path", config.model.path,
            "Hugging Face folder: config.json, tokenizer.json, *.safetensors.")
      .required();
  fields.choice<std::string>(
      "dtype", config.model.dtype,
      {{"auto", "auto"}, {"float32", "float32"}, {"bfloat16", "bfloat16"}},
      "What the model computes in; auto is float32 on the CPU and bfloat16 on CUDA.");

  fields.section("data", "The documents and how they become rows of tokens.");
  describe(fields, config.data);

  fields.section("out", "The cache that is written.");
  fields
      .text("path", config.out.path,
            "Folder that gets a folder for each site; unfinished ones are continued.")
      .required();
  fields.choice(
      "store", config.out.store, data::store_words(),
      "input halves the space: attention's output is then recomputed from the layer's weights "
      "when it is read.");
  fields.choice(
      "dtype", config.out.dtype, data::dtype_words(),
      "What activations are stored in; int8 has a float32 scale per position and activation.");
  fields
      .bytes("shard_bytes", config.out.shard_bytes,
             "Size of a shard file; a killed extraction goes on behind the last finished shard.")
      .at_least(1);

  fields.section("run", "Where and how the extraction runs.");
  fields.text("device", config.run.device, "auto, cpu, cuda or cuda:N.");
  fields
      .count("batch_sequences", config.run.batch_sequences,
             "Rows in one forward pass of the model.")
      .between(1, 65536);
  fields
      .count("threads", config.run.threads,
             "CPU threads of the model's forward pass; 0 leaves the choice to LibTorch.")
      .between(0, 1024);
  fields
      .number("rank_timeout_s", config.run.rank_timeout_s,
              "How long one of several processes (torchrun, mpirun, srun) waits for another.")
      .at_least(1.0);
}

}  // namespace lorsa::collect
