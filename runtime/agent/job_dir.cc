#include "agent/job_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/fs.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr const char* kStepFile = "step.json";
constexpr const char* kSupervisorFile = "supervisor";
constexpr const char* kVerbLock = "verb.lock";
constexpr const char* kRemovedPrefix = ".removed-";

constexpr std::pair<JobState, const char*> kStates[] = {
    {JobState::kUnknown, "unknown"},     {JobState::kPreparing, "preparing"},
    {JobState::kPrepared, "prepared"},   {JobState::kExecuting, "executing"},
    {JobState::kExecuted, "executed"},   {JobState::kFinalizing, "finalizing"},
    {JobState::kFinalized, "finalized"}, {JobState::kError, "error"},
};

bool IsWork(JobState state) {
  return state == JobState::kPreparing || state == JobState::kExecuting ||
         state == JobState::kFinalizing;
}

// The whole file, exclusive. A lock of the open file description: it can be asked for without being
// taken, and it goes when the last process that has the descriptor is gone.
struct flock WholeFile() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// Field 22 of /proc/PID/stat: with the pid it names a process for ever (of one boot).
std::string StartTime(pid_t pid) {
  const std::string text = ReadFile("/proc/" + std::to_string(pid) + "/stat", 65536).value_or("");
  size_t at = text.rfind(')');
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  if (at == std::string::npos) return "";
  return text.substr(at + 1, text.find(' ', at + 1) - at - 1);
}

}  // namespace

const char* StateName(JobState state) {
  for (const auto& [value, name] : kStates)
    if (value == state) return name;
  return "error";
}

Result<std::string> BootId() {
  CARREL_ASSIGN(std::string id, ReadFile("/proc/sys/kernel/random/boot_id", 128));
  while (id.ends_with('\n')) id.pop_back();
  return id;
}

Result<std::optional<JobDir>> JobDir::Find(const std::string& state_dir, const std::string& id) {
  if (!IsName(id)) return BadInput("/id", "not a name that a job can have");
  auto parent = OpenPath(state_dir + "/jobs", O_RDONLY | O_DIRECTORY);
  if (!parent && parent.error().code == ENOENT) return std::optional<JobDir>();
  if (!parent) return std::move(parent).error();
  JobDir dir;
  dir.id_ = id;
  dir.path_ = state_dir + "/jobs/" + id;
  dir.parent_ = std::move(*parent);
  auto directory = OpenBeneath(dir.parent_.get(), id, O_RDONLY | O_DIRECTORY);
  if (!directory && directory.error().code == ENOENT) return std::optional<JobDir>();
  if (!directory) return std::move(directory).error();
  dir.directory_ = std::move(*directory);
  return std::optional<JobDir>(std::move(dir));
}

Result<JobDir> JobDir::Make(const std::string& state_dir, const std::string& id) {
  if (!IsName(id)) return BadInput("/id", "not a name that a job can have");
  CARREL_ASSIGN(const UniqueFd parent, MakeDirs(state_dir + "/jobs", 0700));
  if (::mkdirat(parent.get(), id.c_str(), 0700) == 0) {
    if (::fsync(parent.get()) != 0) return SysFault("jobs", "fsync");
  } else if (errno != EEXIST) {
    return SysFault("jobs/" + id, "mkdir");
  }
  CARREL_ASSIGN(auto dir, Find(state_dir, id));
  if (!dir) return Fault("jobs/" + id, "another verb removes the job at this moment");
  return std::move(*dir);
}

Result<std::vector<std::string>> JobDir::List(const std::string& state_dir) {
  auto parent = OpenPath(state_dir + "/jobs", O_RDONLY | O_DIRECTORY);
  if (!parent && parent.error().code == ENOENT) return std::vector<std::string>();
  if (!parent) return std::move(parent).error();
  CARREL_ASSIGN(auto names, ListDir(parent->get()));
  std::erase_if(names, [&](const std::string& name) {
    struct stat info {};
    return !IsName(name) ||
           ::fstatat(parent->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
           !S_ISDIR(info.st_mode);
  });
  return names;
}

Result<void> JobDir::LockVerbs() {
  CARREL_ASSIGN(verb_lock_, OpenBeneath(fd(), kVerbLock, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  while (::flock(verb_lock_.get(), LOCK_EX) != 0)
    if (errno != EINTR) return SysFault(path_, "flock");
  return {};
}

bool JobDir::StillThere() const {
  struct stat mine {
  }, named{};
  return ::fstat(fd(), &mine) == 0 &&
         ::fstatat(parent_.get(), id_.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         mine.st_ino == named.st_ino && mine.st_dev == named.st_dev;
}

Result<JobStep> JobDir::ReadStep() const {
  JobStep step;
  auto file = OpenBeneath(fd(), kStepFile, O_RDONLY | O_NOFOLLOW);
  if (!file && file.error().code == ENOENT) return step;
  if (!file) return std::move(file).error();
  CARREL_ASSIGN(const std::string text, ReadFd(file->get(), 64u << 20));
  try {
    const auto json = OrderedJson::parse(text);
    const std::string name = json.at("state");
    for (const auto& [value, its_name] : kStates)
      if (name == its_name) step.state = value;
    step.timestamp_ns = json.at("timestamp_ns");
    step.boot_id = json.at("boot_id");
    step.results = json.at("results");
    step.record = Json::parse(json.at("record").dump());
  } catch (const Json::exception& error) {
    return Fault(path_ + "/" + kStepFile, error.what(), "Clean the job up and give it again");
  }
  return step;
}

Result<JobStep> JobDir::StateOfNobody() const {
  CARREL_ASSIGN(JobStep step, ReadStep());
  step.lost = IsWork(step.state);
  if (step.state == JobState::kPrepared) {
    // Its audit log is on the clock of that boot: it is prepared anew, which costs little.
    CARREL_ASSIGN(const std::string boot, BootId());
    step.lost = step.boot_id != boot;
  }
  return step;
}

Result<JobStep> JobDir::State() const {
  CARREL_ASSIGN(JobStep step, StateOfNobody());
  if (!IsWork(step.state)) return step;
  step.lost = false;
  CARREL_ASSIGN(const bool alive, Supervised());
  if (alive) return step;
  // It may have written its last step and ended between the two looks.
  const int64_t seen = step.timestamp_ns;
  CARREL_ASSIGN(step, ReadStep());
  step.lost = IsWork(step.state) && step.timestamp_ns == seen;
  return step;
}

Result<void> JobDir::WriteStep(JobState state, OrderedJson results, Json record) const {
  CARREL_ASSIGN(const std::string boot, BootId());
  OrderedJson step = {{"state", StateName(state)},
                      {"timestamp_ns", NowNs()},
                      {"boot_id", boot},
                      {"results", std::move(results)},
                      {"record", std::move(record)}};
  return WriteFileAtomic(fd(), kStepFile,
                         step.dump(2, ' ', false, OrderedJson::error_handler_t::replace), 0600);
}

Result<bool> JobDir::Supervised() const {
  auto file = OpenBeneath(fd(), kSupervisorFile, O_RDWR | O_NOFOLLOW);
  if (!file && file.error().code == ENOENT) return false;
  if (!file) return std::move(file).error();
  struct flock lock = WholeFile();
  if (::fcntl(file->get(), F_OFD_GETLK, &lock) != 0) return SysFault(path_, "F_OFD_GETLK");
  return lock.l_type != F_UNLCK;
}

Result<UniqueFd> JobDir::TakeSupervision(int wait_ms) const {
  CARREL_ASSIGN(UniqueFd file,
                OpenBeneath(fd(), kSupervisorFile, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  for (int waited = 0;; waited += 5) {
    struct flock lock = WholeFile();
    if (::fcntl(file.get(), F_OFD_SETLK, &lock) == 0) return file;
    if (errno != EAGAIN && errno != EACCES) return SysFault(path_, "F_OFD_SETLK");
    if (waited >= wait_ms) return UniqueFd();
    ::usleep(5000);
  }
}

Result<void> JobDir::SignSupervision(int lock) {
  const pid_t pid = ::getpid();
  const std::string text = std::to_string(pid) + " " + StartTime(pid) + "\n";
  if (::ftruncate(lock, 0) != 0 || ::lseek(lock, 0, SEEK_SET) != 0)
    return SysFault("supervisor", "ftruncate");
  return WriteAll(lock, text);
}

Result<UniqueFd> JobDir::SupervisorPidfd() const {
  CARREL_ASSIGN(const bool alive, Supervised());
  if (!alive) return UniqueFd();
  CARREL_ASSIGN(const std::string text, ReadFile(path_ + "/" + kSupervisorFile, 256));
  const size_t space = text.find(' ');
  const pid_t pid = std::atoi(text.c_str());
  if (pid <= 1 || space == std::string::npos) return UniqueFd();
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd && errno == ESRCH) return UniqueFd();
  if (!pidfd) return SysFault(path_, "pidfd_open");
  // The pid is of another process when the supervisor has ended meanwhile.
  if (StartTime(pid) + "\n" != text.substr(space + 1)) return UniqueFd();
  return pidfd;
}

Result<void> JobDir::Empty() const {
  CARREL_ASSIGN(const auto names, ListDir(fd()));
  for (const std::string& name : names)
    if (name != kVerbLock && name != kSupervisorFile) CARREL_TRY(RemoveTree(fd(), name));
  return {};
}

Result<std::string> JobDir::MoveAway() const {
  const std::string name =
      kRemovedPrefix + id_ + "-" + std::to_string(::getpid()) + "-" + std::to_string(NowNs());
  if (::renameat(parent_.get(), id_.c_str(), parent_.get(), name.c_str()) != 0)
    return SysFault(path_, "rename");
  return name;
}

Result<void> SweepRemovedJobs(const std::string& state_dir) {
  auto parent = OpenPath(state_dir + "/jobs", O_RDONLY | O_DIRECTORY);
  if (!parent) return {};  // no job was ever given
  CARREL_ASSIGN(const auto names, ListDir(parent->get()));
  for (const std::string& name : names)
    if (name.starts_with(kRemovedPrefix)) CARREL_TRY(RemoveTree(parent->get(), name));
  return {};
}

}  // namespace carrel
