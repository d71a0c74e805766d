#include "job/staging_mark.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "job/collect_copy.h"
#include "policy/names.h"

namespace carrel {
namespace {

// Makers of marks and sweeps exclude each other by a lock on the directory; a mark is locked by its
// maker as long as that lives.
Result<UniqueFd> LockDirectory(const std::string& path) {
  CARREL_ASSIGN(UniqueFd directory, OpenPath(path, O_RDONLY | O_DIRECTORY));
  CARREL_TRY(LockExclusively(directory.get(), path));
  return directory;
}

Result<void> SweepWorkspace(const std::string& workspace, const std::string& job_id) {
  auto directory = OpenPath(workspace, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory && directory.error().code == ENOENT) return {};
  if (!directory) return std::move(directory).error();
  return RemoveTree(directory->get(), kStagingPrefix + job_id);
}

Result<void> SweepMark(const HostConfig& host, int directory, const std::string& name) {
  CARREL_ASSIGN(const UniqueFd mark, OpenBeneath(directory, name, O_RDONLY | O_NOFOLLOW));
  if (::flock(mark.get(), LOCK_EX | LOCK_NB) != 0) return {};  // its job collects now
  CARREL_ASSIGN(const std::string workspace, ReadFd(mark.get(), 4096));
  if (IsName(name) && IsName(workspace))
    for (const std::string& base : {host.high_privacy, host.medium_privacy})
      CARREL_TRY(SweepWorkspace(base + "/workspaces/" + workspace, name));
  if (::unlinkat(directory, name.c_str(), 0) != 0) return SysFault(name, "unlink");
  return {};
}

}  // namespace

Result<StagingMark> StagingMark::Make(const HostConfig& host, const JobDefinition& job) {
  StagingMark mark;
  const std::string path = host.state + "/staging";
  CARREL_TRY(MakeDirs(path, 0700));
  CARREL_ASSIGN(const UniqueFd lock, LockDirectory(path));
  CARREL_ASSIGN(mark.directory_, OpenBeneath(lock.get(), ".", O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(mark.file_, OpenBeneath(lock.get(), job.id, O_RDWR | O_CREAT | O_TRUNC, 0600));
  if (::flock(mark.file_.get(), LOCK_EX | LOCK_NB) != 0)
    return BadInput("/id", "another carrel collects the outputs of a job with this id");
  CARREL_TRY(WriteAll(mark.file_.get(), job.workspace));
  mark.name_ = job.id;
  return mark;
}

StagingMark::~StagingMark() {
  if (file_) (void)::unlinkat(directory_.get(), name_.c_str(), 0);
}

Result<void> SweepStaging(const HostConfig& host) {
  auto directory = LockDirectory(host.state + "/staging");
  if (!directory && directory.error().code == ENOENT) return {};  // nothing was ever collected
  if (!directory) return std::move(directory).error();
  CARREL_ASSIGN(const auto names, ListDir(directory->get()));
  for (const std::string& name : names) {
    auto swept = SweepMark(host, directory->get(), name);
    if (!swept && swept.error().code != ENOENT) return swept;  // ENOENT: its job has just ended
  }
  return {};
}

}  // namespace carrel
