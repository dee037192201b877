#include "dist/mpi_roll_call.h"

#include "dist/lost_ranks.h"

namespace lorsa::dist {
namespace {

constexpr int kQuestion = 1;
constexpr int kAnswer = 2;
// A living rank looks for questions every 20 ms; the rest is for slow networks and busy machines.
constexpr std::chrono::seconds kTimeToAnswer(2);

}  // namespace

MpiRollCall::MpiRollCall(MPI_Comm comm) : comm_(comm) {
  int size = 0;
  check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(comm_, &size), "MPI_Comm_size");
  answers_.assign(static_cast<size_t>(size), RollCall::kSilent);
  requests_.assign(answers_.size(), MPI_REQUEST_NULL);
}

void MpiRollCall::answer(int64_t num_begun) {
  for (auto sent = sent_.begin(); sent != sent_.end();) {
    int done = 0;
    check_mpi(MPI_Test(&sent->request, &done, MPI_STATUS_IGNORE), "MPI_Test");
    sent = done != 0 ? sent_.erase(sent) : std::next(sent);
  }
  // Answering in the same call keeps ranks that ask each other from waiting for each other.
  int has_come = 0;
  MPI_Status status;
  check_mpi(MPI_Iprobe(MPI_ANY_SOURCE, kQuestion, comm_, &has_come, &status), "MPI_Iprobe");
  if (has_come == 0) {
    return;
  }
  check_mpi(MPI_Recv(nullptr, 0, MPI_BYTE, status.MPI_SOURCE, kQuestion, comm_, MPI_STATUS_IGNORE),
            "MPI_Recv");
  Sent& reply = sent_.emplace_back(Sent{num_begun, MPI_REQUEST_NULL});
  check_mpi(MPI_Isend(&reply.num_begun, 1, MPI_INT64_T, status.MPI_SOURCE, kAnswer, comm_,
                      &reply.request),
            "MPI_Isend");
}

void MpiRollCall::ask() {
  asked_ = std::chrono::steady_clock::now();
  for (size_t i = 0; i < answers_.size(); ++i) {
    const int other = static_cast<int>(i);
    if (other == rank_) {
      continue;
    }
    check_mpi(MPI_Irecv(&answers_[i], 1, MPI_INT64_T, other, kAnswer, comm_, &requests_[i]),
              "MPI_Irecv");
    // Empty, so that there is no buffer to keep and no need to know when it has left.
    MPI_Request question = MPI_REQUEST_NULL;
    check_mpi(MPI_Isend(nullptr, 0, MPI_BYTE, other, kQuestion, comm_, &question), "MPI_Isend");
    check_mpi(MPI_Request_free(&question), "MPI_Request_free");
  }
}

bool MpiRollCall::ended() {
  int all = 0;
  check_mpi(
      MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &all, MPI_STATUSES_IGNORE),
      "MPI_Testall");
  return all != 0 || std::chrono::steady_clock::now() - asked_ > kTimeToAnswer;
}

std::vector<int64_t> MpiRollCall::answers() const {
  return answers_;
}

}  // namespace lorsa::dist
