#pragma once

#include <filesystem>

#include "lorsa/io/json.h"

// What a language model's path can turn out to be, in whatever layout it was downloaded. Only
// folders of Hugging Face's layout are read; everything else is named, with the way to such a
// folder: never a guess which of several is meant.

namespace lorsa::lm {

/// Throws unless `folder` holds a config.json: IoError if there is nothing or an unknown folder,
/// FormatError for what is known: a file of a model folder, a cache of the Hugging Face hub, an
/// adapter, a GGUF file, Meta's own layout.
void check_model_folder(const std::filesystem::path& folder);

/// Throws FormatError if config.json, parsed from `where`, is of a model whose text part is nested
/// in it.
void check_text_model(const io::Json& config, const std::string& where);

/// Throws the FormatError of a folder that has neither model.safetensors nor its index, with what
/// it has: shards without an index, weights in another format, an unfinished download.
[[noreturn]] void refuse_without_weights(const std::filesystem::path& folder);

/// `folder`/tokenizer.json. Throws, where it is not there, what check_model_folder() throws, and
/// FormatError naming a tokenizer in another format.
[[nodiscard]] io::Json read_tokenizer_file(const std::filesystem::path& folder);

}  // namespace lorsa::lm
