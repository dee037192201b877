#include "dist/rendezvous.h"

#include <array>
#include <charconv>
#include <optional>

#include "lorsa/core/error.h"

namespace lorsa::dist {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's

std::string value_of(const ReadEnvironment& read, const char* name) {
  const char* value = read(name);
  return value == nullptr ? std::string() : value;
}

std::optional<int64_t> number_of(const ReadEnvironment& read, const char* name, int64_t high) {
  const std::string text = value_of(read, name);
  if (text.empty()) {
    return std::nullopt;
  }
  int64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, code] = std::from_chars(text.data(), last, number);
  LORSA_CHECK(code == std::errc() && end == last && number >= 1 && number <= high, ConfigError,
              "environment: {}: expected a number from 1 to {}, found '{}'", name, high, text);
  return number;
}

/// Whether the launcher says that all ranks are on one machine. The first launcher that says
/// anything counts, in the order of launch_rank().
bool all_on_one_machine(const ReadEnvironment& read, int64_t world_size) {
  constexpr std::array<const char*, 3> kRanksHere = {
      "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"};
  for (const char* name : kRanksHere) {
    if (const auto here = number_of(read, name, world_size)) {
      return *here == world_size;
    }
  }
  return number_of(read, "SLURM_STEP_NUM_NODES", world_size) == 1;
}

std::string find_host(const ReadEnvironment& read, int64_t world_size) {
  std::string named = value_of(read, "MASTER_ADDR");
  if (!named.empty()) {
    return named;
  }
  if (all_on_one_machine(read, world_size)) {
    return "127.0.0.1";
  }
  for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"}) {
    // Rank 0 runs on the step's first host, unless srun was told to distribute arbitrarily.
    std::string host = first_host(value_of(read, name));
    if (!host.empty()) {
      return host;
    }
  }
  throw ConfigError(
      formatted("MASTER_ADDR is not in the environment, and the launcher of these {} ranks does "
                "not say that all run on one machine: set it to the host of rank 0 (with mpirun: "
                "-x MASTER_ADDR=HOST), and MASTER_PORT unless {} is free there",
                world_size, kDefaultPort));
}

/// The same on all ranks of a job; two jobs on one machine that use the same port tell by it that
/// they are not one.
std::string job_name(const ReadEnvironment& read) {
  const std::string torchrun = value_of(read, "TORCHELASTIC_RUN_ID");
  if (!torchrun.empty()) {
    return torchrun + "/" + value_of(read, "TORCHELASTIC_RESTART_COUNT");
  }
  std::string mpirun = value_of(read, "PMIX_NAMESPACE");
  if (!mpirun.empty()) {
    return mpirun;
  }
  const std::string slurm = value_of(read, "SLURM_JOB_ID");
  return slurm.empty() ? "job" : slurm + "." + value_of(read, "SLURM_STEP_ID");
}

}  // namespace

std::string first_host(const std::string& list) {
  std::string host;
  for (size_t at = 0; at < list.size() && list[at] != ',';) {
    if (list[at] != '[') {
      host += list[at++];
      continue;
    }
    // The first number of the bracket, with its leading zeros.
    const size_t close = list.find(']', at);
    const size_t end = list.find_first_of("-,]", at);
    LORSA_CHECK(close != std::string::npos && end > at + 1, ConfigError,
                "SLURM's host list: expected numbers in [ ] at {}, found '{}'", at + 1, list);
    host += list.substr(at + 1, end - at - 1);
    at = close + 1;
  }
  return host;
}

Rendezvous find_rendezvous(const ReadEnvironment& read, int64_t world_size) {
  const std::string agent_store = value_of(read, "TORCHELASTIC_USE_AGENT_STORE");
  const int64_t port = number_of(read, "MASTER_PORT", 65535).value_or(kDefaultPort);
  return {find_host(read, world_size), static_cast<int>(port),
          agent_store == "True" || agent_store == "true" || agent_store == "1", job_name(read)};
}

}  // namespace lorsa::dist
