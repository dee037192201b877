#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace lorsa::dist {

/// Where the ranks of a job find each other before NCCL connects them: a key-value store.
struct Rendezvous {
  std::string host;
  int port = 0;
  bool agent_store = false;  ///< torchrun's agent serves it; else rank 0 does
  std::string job;           ///< tells the keys of one job, and of its restarts, from others'

  bool operator==(const Rendezvous&) const = default;
};

/// Like std::getenv.
using ReadEnvironment = std::function<const char*(const char* name)>;

/// What the launcher's environment says.
///
/// Host: MASTER_ADDR; else this machine if the launcher says that all ranks are on it; else the
/// first host of srun's step or job. Port: MASTER_PORT, else 29500. torchrun sets both, and
/// TORCHELASTIC_USE_AGENT_STORE=True where its agent serves the store. ConfigError naming the
/// variable where there is no host or a value makes no sense.
[[nodiscard]] Rendezvous find_rendezvous(const ReadEnvironment& read, int64_t world_size);

/// The first host of a SLURM list such as "gpu[003-007,012],login1": "gpu003". Empty if `list` is.
[[nodiscard]] std::string first_host(const std::string& list);

}  // namespace lorsa::dist
