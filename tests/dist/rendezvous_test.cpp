#include "dist/rendezvous.h"

#include <map>

#include "lorsa/core/error.h"
#include "support/throws.h"

namespace lorsa::dist {
namespace {

using Variables = std::map<std::string, const char*>;

Rendezvous found(const Variables& variables, int64_t world_size) {
  const auto read = [&](const char* name) -> const char* {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second;
  };
  return find_rendezvous(read, world_size);
}

std::string refused(const Variables& variables, int64_t world_size) {
  return test::message_of<ConfigError>([&] { static_cast<void>(found(variables, world_size)); });
}

TEST_CASE("torchrun's ranks meet at MASTER_ADDR, at its agent's store where it has one", "[dist]") {
  Variables torchrun = {{"MASTER_ADDR", "node7"},
                        {"MASTER_PORT", "40123"},
                        {"LOCAL_WORLD_SIZE", "8"},
                        {"TORCHELASTIC_RUN_ID", "run"},
                        {"TORCHELASTIC_RESTART_COUNT", "2"}};
  CHECK(found(torchrun, 8) == Rendezvous{"node7", 40123, false, "run/2"});
  torchrun["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  CHECK(found(torchrun, 8) == Rendezvous{"node7", 40123, true, "run/2"});
  torchrun["TORCHELASTIC_USE_AGENT_STORE"] = "False";
  CHECK(found(torchrun, 8) == Rendezvous{"node7", 40123, false, "run/2"});
  // Inside srun, one torchrun a machine: the steps may differ, the run does not.
  torchrun["SLURM_JOB_ID"] = "77";
  torchrun["SLURM_STEP_ID"] = "1";
  CHECK(found(torchrun, 8).job == "run/2");
}

TEST_CASE("mpirun's ranks meet on their only machine or where MASTER_ADDR says", "[dist]") {
  Variables mpirun = {{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}, {"PMIX_NAMESPACE", "814809089"}};
  CHECK(found(mpirun, 4) == Rendezvous{"127.0.0.1", 29500, false, "814809089"});
  mpirun["MASTER_PORT"] = "1234";
  CHECK(found(mpirun, 4) == Rendezvous{"127.0.0.1", 1234, false, "814809089"});
  test::require_parts(refused(mpirun, 8), {"MASTER_ADDR", "8 ranks", "-x MASTER_ADDR=HOST"});
  mpirun["MASTER_ADDR"] = "10.0.0.3";
  CHECK(found(mpirun, 8) == Rendezvous{"10.0.0.3", 1234, false, "814809089"});
}

TEST_CASE("mpirun over several machines of a SLURM job meets on its first", "[dist]") {
  const Variables mpirun = {{"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                            {"PMIX_NAMESPACE", "1"},
                            {"SLURM_JOB_ID", "77"},
                            {"SLURM_STEP_NUM_NODES", "1"},
                            {"SLURM_JOB_NODELIST", "gpu[08-09]"}};
  CHECK(found(mpirun, 8) == Rendezvous{"gpu08", 29500, false, "1"});
}

TEST_CASE("srun's ranks meet on the first host of their step", "[dist]") {
  Variables srun = {{"SLURM_JOB_ID", "77"},
                    {"SLURM_STEP_ID", "3"},
                    {"SLURM_STEP_NUM_NODES", "2"},
                    {"SLURM_STEP_NODELIST", "gpu[011,014]"},
                    {"SLURM_JOB_NODELIST", "gpu[010-014]"},
                    {"SLURM_LAUNCH_NODE_IPADDR", "192.168.0.1"}};
  CHECK(found(srun, 16) == Rendezvous{"gpu011", 29500, false, "77.3"});
  srun.erase("SLURM_STEP_NODELIST");
  CHECK(found(srun, 16).host == "gpu010");
  srun["SLURM_STEP_NUM_NODES"] = "1";
  CHECK(found(srun, 16).host == "127.0.0.1");
}

TEST_CASE("ranks that were started by hand need MASTER_ADDR", "[dist]") {
  test::require_parts(refused({}, 2), {"MASTER_ADDR", "2 ranks"});
  CHECK(found({{"MASTER_ADDR", "::1"}}, 2) == Rendezvous{"::1", 29500, false, "job"});
  // An empty variable says nothing.
  CHECK(found({{"MASTER_ADDR", "a"}, {"MASTER_PORT", ""}}, 2).port == 29500);
}

TEST_CASE("ports and counts that are no numbers are refused with their names", "[dist]") {
  for (const char* port : {"0", "65536", "-1", "http", "12a", " 1"}) {
    test::require_parts(refused({{"MASTER_ADDR", "a"}, {"MASTER_PORT", port}}, 2),
                        {"MASTER_PORT", "1 to 65535", formatted("'{}'", port)});
  }
  test::require_parts(refused({{"OMPI_COMM_WORLD_LOCAL_SIZE", "5"}}, 4),
                      {"OMPI_COMM_WORLD_LOCAL_SIZE", "1 to 4", "'5'"});
}

TEST_CASE("the first host of a SLURM list keeps its zeros", "[dist]") {
  CHECK(first_host("").empty());
  CHECK(first_host("login") == "login");
  CHECK(first_host("a,b") == "a");
  CHECK(first_host("gpu[003-010,12],login1") == "gpu003");
  CHECK(first_host("gpu[7]") == "gpu7");
  CHECK(first_host("rack[1-2]node[03,5]-ib,x") == "rack1node03-ib");
  for (const char* broken : {"gpu[", "gpu[3", "gpu[]", "gpu[-3]", "gpu[,3]"}) {
    test::require_parts(
        test::message_of<ConfigError>([&] { static_cast<void>(first_host(broken)); }),
        {"host list", broken});
  }
}

}  // namespace
}  // namespace lorsa::dist
