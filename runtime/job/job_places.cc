// Where a job's records and outputs go.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "job/job_records.h"

namespace carrel {
namespace {

Result<UniqueFd> OpenOwned(const std::string& base, const std::string& path,
                           const LevelOwnership& owner) {
  CARREL_ASSIGN(const UniqueFd root, MakeDirs(base, 0755));
  UniqueFd current;
  std::string part;
  // Every directory that carrel makes on the way gets the level's owner and mode.
  for (size_t start = 0; start <= path.size(); start = part.size() + start + 1) {
    part = path.substr(start, path.find('/', start) - start);
    const int parent = current ? current.get() : root.get();
    const bool made = ::mkdirat(parent, part.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return SysFault(base + "/" + path, "mkdir");
    CARREL_ASSIGN(UniqueFd next, OpenBeneath(parent, part, O_RDONLY | O_DIRECTORY));
    if (made && (::fchown(next.get(), owner.owner, owner.group) != 0 ||
                 ::fchmod(next.get(), owner.directory_mode) != 0))
      return SysFault(base + "/" + path, "owner and mode");
    current = std::move(next);
  }
  return current;
}

}  // namespace

const LevelOwnership& Ownership(const HostConfig& host, Level level) {
  return host.levels.at(level);
}

Result<std::string> FreeAuditId(const std::string& state_dir, const std::string& id) {
  std::string candidate = id;
  for (int attempt = 2;
       ::access((state_dir + "/audit/" + candidate + ".carrel-log").c_str(), F_OK) == 0; ++attempt)
    candidate = id + "." + std::to_string(attempt);
  return candidate;
}

Result<JobPlaces> OpenPlaces(const HostConfig& host, const JobDefinition& job, int64_t now_ns) {
  JobPlaces places;
  places.month = YearMonth(now_ns);
  const auto& high = Ownership(host, Level::kHighlySensitive);
  const auto& medium = Ownership(host, Level::kModeratelySensitive);
  CARREL_ASSIGN(places.high_logs, OpenOwned(host.high_privacy, "logs", high));
  CARREL_ASSIGN(places.high_workspace,
                OpenOwned(host.high_privacy, "workspaces/" + job.workspace, high));
  CARREL_ASSIGN(places.medium_workspace,
                OpenOwned(host.medium_privacy, "workspaces/" + job.workspace, medium));
  return places;
}

Result<std::vector<UniqueFd>> ReserveRoom(const JobPlaces& places, int state_dir, int action_log) {
  constexpr off_t kRecords = 4 << 20;  // manifest, metadata, the audit log's end
  struct stat log {};
  if (::fstat(action_log, &log) != 0) return SysFault("action log", "fstat");
  std::vector<UniqueFd> room;
  for (int directory : {places.high_workspace.get(), places.medium_workspace.get(), state_dir}) {
    CARREL_ASSIGN(UniqueFd file, OpenBeneath(directory, ".", O_WRONLY | O_TMPFILE, 0600));
    // The log is copied twice to a disk at most. A file system that cannot promise is asked no
    // more than that.
    if (::fallocate(file.get(), 0, 0, kRecords + 2 * log.st_size) != 0 && errno != EOPNOTSUPP) {
      Error error = SysFault("records", "no room for the job's records beside its outputs");
      error.hint = "Nothing was released. Make room on the disks of the workspaces and the state";
      return error;
    }
    room.push_back(std::move(file));
  }
  return room;
}

}  // namespace carrel
