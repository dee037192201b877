#include "identity.h"

#include "lorsa/core/error.h"

namespace lorsa::collect {

std::string identity_yaml(const Job& job, const Site& site) {
  ExtractConfig kept;
  kept.layers = {site.layer};
  kept.components = {to_string(site.component)};
  kept.model = {job.model_path, job.dtype};
  kept.data = job.data;
  kept.out = job.out;
  kept.out.path = std::string(".");  // g++ 12 warns falsely about assigning the literal
  kept.run.batch_sequences = job.run.batch_sequences;
  config::Fields fields;
  describe(fields, kept);
  return config::to_yaml(fields);
}

void check_same_configuration(const std::filesystem::path& folder,
                              const std::string& found_yaml,
                              const std::string& wanted_yaml) {
  if (found_yaml == wanted_yaml) {
    return;
  }
  ExtractConfig found;
  ExtractConfig wanted;
  config::Fields found_fields;
  config::Fields wanted_fields;
  describe(found_fields, found);
  describe(wanted_fields, wanted);
  config::load_text(found_fields, found_yaml, (folder / "manifest.json").string(), {});
  config::load_text(wanted_fields, wanted_yaml, "configuration", {});
  std::string differences;
  for (size_t i = 0; i < wanted_fields.all().size(); ++i) {
    const std::string found_value = found_fields.all()[i].get();
    const std::string wanted_value = wanted_fields.all()[i].get();
    if (found_value != wanted_value) {
      differences +=
          formatted("{}{}: cache has {}, configuration says {}", differences.empty() ? "" : "; ",
                    wanted_fields.all()[i].key, found_value, wanted_value);
    }
  }
  LORSA_CHECK(differences.empty(), ConfigError,
              "{}: holds a cache of another configuration ({}); choose another out.path", folder,
              differences);
}

}  // namespace lorsa::collect
