#include "lorsa/core/site.h"

#include "support/test.h"

using lorsa::Component;
using lorsa::Site;
using lorsa::site_of_folder;

TEST_CASE("a site's folder names it", "[core]") {
  CHECK(lorsa::folder_name(Site{17}) == "layer-17");
  CHECK(lorsa::folder_name(Site{0, Component::kMlp}) == "layer-0-mlp");
  CHECK(site_of_folder("layer-17") == Site{17});
  CHECK(site_of_folder("layer-3-mlp") == Site{3, Component::kMlp});
  for (const char* other :
       {"", "layer-", "layer", "layer-x", "layer-1-", "layer-1-attention", "layer--1", "layer-01",
        "layer-1 ", "layer-1-mlp2", "Layer-1", "layer-99999999999999999999"}) {
    CAPTURE(other);
    CHECK_FALSE(site_of_folder(other));
  }
}

TEST_CASE("components are named", "[core]") {
  CHECK(lorsa::component_named("attention") == Component::kAttention);
  CHECK(lorsa::component_named("mlp") == Component::kMlp);
  CHECK_FALSE(lorsa::component_named("MLP"));
}

TEST_CASE("sites are ordered as a model computes them", "[core]") {
  CHECK(Site{1} < Site{1, Component::kMlp});
  CHECK(Site{1, Component::kMlp} < Site{2});
  CHECK(lorsa::to_string(Site{2, Component::kMlp}) == "layer 2, mlp");
  CHECK(lorsa::to_string(Site{2}) == "layer 2, attention");
}
