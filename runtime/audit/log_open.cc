// AuditLog::Create and Resume.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/left_behind.h"
#include "audit/log_reader.h"
#include "audit/log_writer.h"
#include "base/fs.h"

namespace carrel {
namespace {

// Whether the file is as it was when its reader came to its end: nobody else went on with it.
Result<void> RequireSame(int fd, const std::string& path, const struct stat& before) {
  struct stat now {};
  if (::fstat(fd, &now) != 0) return SysFault(path, "fstat");
  if (now.st_ino == before.st_ino && now.st_dev == before.st_dev && now.st_size == before.st_size)
    return {};
  return Refused(path, "another carrel went on with this audit log");
}

Result<std::unique_ptr<LogWriter>> OpenToGoOn(const std::string& state_dir,
                                              const std::string& job_id, const LogReader& reader,
                                              const struct stat& before) {
  CARREL_ASSIGN(UniqueFd dir, OpenPath(state_dir + "/audit", O_RDONLY | O_DIRECTORY));
  const std::string path = state_dir + "/audit/" + job_id + ".carrel-log";
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_WRONLY | O_APPEND | O_NOFOLLOW));
  const int file = fd.get();
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(dir), std::move(fd));
  CARREL_TRY(log->Lock());
  CARREL_TRY(RequireSame(file, path, before));
  if (::ftruncate(file, static_cast<off_t>(reader.offset())) != 0)
    return SysFault(path, "ftruncate");
  if (reader.blocks() > 0)
    log->ContinueAfter(reader);
  else
    CARREL_TRY(log->Start());  // its writer died over the first block
  return log;
}

}  // namespace

Result<std::unique_ptr<AuditLog>> AuditLog::Create(const std::string& state_dir,
                                                   const std::string& job_id) {
  if (!IsSafeComponent(job_id) || job_id.size() > 200)
    return BadInput("audit", "the job's id cannot be the name of a log");
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(state_dir + "/audit", 0700));
  const std::string name = job_id + ".carrel-log";
  auto fd = OpenBeneath(dir.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, 0600);
  const std::string path = state_dir + "/audit/" + name;
  if (!fd) {
    Error error = std::move(fd).error();
    if (error.code == EEXIST)
      return BadInput(path, "this job has an audit log already", "Give the run another id");
    error.where = path;
    error.what = "make the audit log";
    return error;
  }
  auto log = std::make_unique<LogWriter>(state_dir, job_id, path, std::move(dir), std::move(*fd));
  CARREL_TRY(log->Lock());
  CARREL_TRY(log->Start());
  return std::unique_ptr<AuditLog>(std::move(log));
}

Result<ResumedLog> AuditLog::Resume(const std::string& state_dir, const std::string& job_id) {
  if (!IsSafeComponent(job_id)) return BadInput("audit", "the job's id cannot be a log's name");
  const std::string path = state_dir + "/audit/" + job_id + ".carrel-log";
  struct stat before {};
  (void)::stat(path.c_str(), &before);
  CARREL_ASSIGN(LogReader reader, LogReader::Open(path));
  ResumedLog resumed;
  for (;;) {
    CARREL_ASSIGN(const bool more, reader.NextBlock());
    if (!more) break;
    resumed.counts.events += reader.header().calls;
    resumed.counts.denied += reader.header().denied;
  }
  const LogStanding standing = reader.Standing();
  if (standing == LogStanding::kSealed) {
    resumed.counts = reader.seal().counts;
    resumed.seal = AuditSeal{reader.seal().head, path, resumed.counts, reader.offset()};
    return resumed;
  }
  if (standing == LogStanding::kAltered || (reader.blocks() > 0 && reader.job() != job_id))
    return Refused(path, "the audit log was altered: " + reader.why());
  if (standing == LogStanding::kRunning)
    return Refused(path, "another carrel writes this audit log");
  CARREL_ASSIGN(auto log, OpenToGoOn(state_dir, job_id, reader, before));
  if (standing == LogStanding::kCutOff)
    CARREL_TRY(RecoverLog(state_dir, reader, *log, resumed.counts));
  resumed.log = std::move(log);
  return resumed;
}

}  // namespace carrel
