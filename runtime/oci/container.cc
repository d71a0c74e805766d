#include "oci/container.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "oci/container_json.h"

namespace carrel {
namespace {

constexpr const char* kNames = "names";
constexpr int64_t kKillWaitNs = 10'000'000'000;

std::string NewId() {
  unsigned char bytes[32] = {};
  // The kernel's generator does not fail for 32 bytes once it has been seeded.
  while (::getrandom(bytes, sizeof bytes, 0) != static_cast<ssize_t>(sizeof bytes)) {
  }
  std::string id;
  for (const unsigned char byte : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    id += kDigits[byte >> 4];
    id += kDigits[byte & 15];
  }
  return id;
}

bool IsContainerName(const std::string& name) {
  return IsSafeComponent(name) && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-';
         });
}

bool IsHex(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Result<Json> ReadJsonAt(int directory, const std::string& name) {
  CARREL_ASSIGN(const UniqueFd file, OpenBeneath(directory, name, O_RDONLY));
  CARREL_ASSIGN(const std::string text, ReadFd(file.get(), 4u << 20));
  return ParseJson(text, name);
}

}  // namespace

Result<ContainerStore> ContainerStore::Open(const std::string& state_dir) {
  ContainerStore store;
  CARREL_ASSIGN(store.directory_, MakeDirs(state_dir + "/containers", 0700));
  CARREL_ASSIGN(store.names_, MakeDirsBeneath(store.directory_.get(), kNames, 0700));
  return store;
}

Result<Container> ContainerStore::Create(ContainerConfig config) const {
  config.id = NewId();
  config.created_ns = NowNs();
  if (config.name.empty()) config.name = "carrel-" + config.id.substr(0, 12);
  if (!IsContainerName(config.name))
    return BadInput("--name", "Invalid container name (" + config.name + ")",
                    "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed");
  Container container;
  CARREL_ASSIGN(container.directory_, MakeDirsBeneath(directory_.get(), config.id, 0700));
  auto written = WriteFileAtomic(container.directory(), "config.json", ToJson(config).dump(), 0600);
  // Should carrel be killed before the action runs, the agent must not read of a success.
  if (written) written = container.WriteState({.exit_code = kNeverRan});
  if (!written) {  // the disk is full: nobody would find it to remove it
    (void)RemoveTree(directory_.get(), config.id).has_value();
    return std::move(written).error();
  }
  // The link is the reservation: of two that ask for one name, one gets it.
  if (::symlinkat(config.id.c_str(), names_.get(), config.name.c_str()) != 0) {
    const int code = errno;
    CARREL_TRY(RemoveTree(directory_.get(), config.id));
    if (code != EEXIST) return SysFault(config.name, "symlinkat", code);
    return Refused("", "Conflict. The container name \"/" + config.name + "\" is already in use",
                   "You have to remove (or rename) that container to be able to reuse that name.");
  }
  container.config_ = std::move(config);
  return container;
}

Result<Container> ContainerStore::Read(const std::string& id) const {
  Container container;
  CARREL_ASSIGN(container.directory_, OpenBeneath(directory_.get(), id, O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(const Json json, ReadJsonAt(container.directory(), "config.json"));
  CARREL_ASSIGN(container.config_, DecodeContainerConfig(json));
  return container;
}

Result<Container> ContainerStore::Find(const std::string& reference) const {
  const Error missing = BadInput("", "No such container: " + reference);
  std::string name = reference.starts_with("/") ? reference.substr(1) : reference;
  if (!IsContainerName(name)) return missing;
  // A whole id is that container's, whatever name another one was given.
  if (name.size() == 64 && IsHex(name)) {
    auto found = Read(name);
    if (found || found.error().code != ENOENT) return found;
  }
  char id[65] = {};
  if (::readlinkat(names_.get(), name.c_str(), id, sizeof id - 1) > 0) {
    auto found = Read(id);
    return found || found.error().code != ENOENT ? std::move(found) : missing;
  }
  if (!IsHex(name)) return missing;
  CARREL_ASSIGN(const std::vector<std::string> entries, ListDir(directory_.get()));
  std::vector<std::string> fitting;
  std::copy_if(entries.begin(), entries.end(), std::back_inserter(fitting),
               [&](const std::string& entry) { return entry.starts_with(name); });
  if (fitting.empty()) return missing;
  if (fitting.size() > 1) return BadInput("", "Multiple IDs found with provided prefix: " + name);
  return Read(fitting[0]);
}

Result<std::vector<Container>> ContainerStore::List() const {
  std::vector<Container> containers;
  CARREL_ASSIGN(const std::vector<std::string> entries, ListDir(directory_.get()));
  for (const std::string& entry : entries) {
    if (entry == kNames) continue;
    auto container = Read(entry);
    if (container)
      containers.push_back(std::move(*container));
    else if (container.error().code != ENOENT)  // another command made or removed it just now
      return std::move(container).error();
  }
  std::sort(containers.begin(), containers.end(), [](const Container& a, const Container& b) {
    return a.config().created_ns > b.config().created_ns;
  });
  return containers;
}

Result<void> ContainerStore::Remove(const Container& container, bool force) const {
  CARREL_ASSIGN(const ContainerState state, container.State());
  if (state.running() && !force)
    return Refused("", "You cannot remove a running container " + container.config().id,
                   "Stop the container before attempting removal or force remove");
  if (state.running()) {
    auto killed = container.Kill();
    if (!killed && killed.error().kind != ErrorKind::kRefused) return killed;
  }
  const std::string& name = container.config().name;
  char id[65] = {};
  if (::readlinkat(names_.get(), name.c_str(), id, sizeof id - 1) > 0 &&
      id == container.config().id && ::unlinkat(names_.get(), name.c_str(), 0) != 0 &&
      errno != ENOENT)
    return SysFault(name, "unlinkat");
  return RemoveTree(directory_.get(), container.config().id);
}

Result<void> Container::WriteState(const ContainerState& state) const {
  return WriteFileAtomic(directory(), "state.json", ToJson(state).dump(), 0600);
}

Result<ContainerState> Container::ReadState() const {
  auto json = ReadJsonAt(directory(), "state.json");
  if (json) return DecodeContainerState(*json);
  if (json.error().code != ENOENT) return std::move(json).error();
  Error missing = BadInput("", "No such container: " + config_.name);
  missing.code = ENOENT;
  return missing;
}

Result<ContainerState> Container::State() const {
  for (;;) {
    CARREL_ASSIGN(const pid_t holder, Holder());
    CARREL_ASSIGN(ContainerState state, ReadState());
    if (!state.running() || holder != 0) return state;
    // Between the two readings it may have ended by itself: what counts is read with the lock.
    auto lock = Lock();
    if (!lock) {
      ::usleep(1000);
      continue;
    }
    CARREL_ASSIGN(state, ReadState());
    if (!state.running()) return state;
    state.status = "exited";
    state.exit_code = 128 + SIGKILL;
    state.finished_ns = NowNs();
    state.error = "the supervisor was killed, or the host restarted";
    CARREL_TRY(WriteState(state));
    return state;
  }
}

Result<UniqueFd> Container::Lock() const {
  CARREL_ASSIGN(UniqueFd lock, OpenBeneath(directory(), "lock", O_RDWR | O_CREAT, 0600));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  if (::fcntl(lock.get(), F_OFD_SETLK, &whole) != 0) return SysFault(config_.name, "F_OFD_SETLK");
  if (::ftruncate(lock.get(), 0) != 0) return SysFault(config_.name, "ftruncate");
  CARREL_TRY(WriteAll(lock.get(), std::to_string(::getpid())));
  return lock;
}

Result<pid_t> Container::Holder() const {
  auto lock = OpenBeneath(directory(), "lock", O_RDWR);
  if (!lock) return lock.error().code == ENOENT ? Result<pid_t>(0) : std::move(lock).error();
  struct flock whole {};
  whole.l_type = F_WRLCK;
  if (::fcntl(lock->get(), F_OFD_GETLK, &whole) != 0) return SysFault(config_.name, "F_OFD_GETLK");
  if (whole.l_type == F_UNLCK) return 0;
  CARREL_ASSIGN(const std::string pid, ReadFd(lock->get(), 32));
  return static_cast<pid_t>(strtol(pid.c_str(), nullptr, 10));
}

bool Container::Killed() const { return ::faccessat(directory(), "killed", F_OK, 0) == 0; }

Result<void> Container::Kill() const {
  CARREL_ASSIGN(const pid_t holder, Holder());
  const Error idle = Refused("", "Cannot kill container: " + config_.name + ": container " +
                                     config_.id + " is not running");
  if (holder == 0) return idle;
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, holder, 0)));
  // The pid could have been given to another process since: it is the holder's if it still holds.
  CARREL_ASSIGN(const pid_t again, Holder());
  if (!pidfd || again != holder) return idle;
  CARREL_TRY(OpenBeneath(directory(), "killed", O_WRONLY | O_CREAT, 0600));
  // The first asks the supervisor to end the action, the second to do it at once.
  for (const int number : {SIGTERM, SIGINT})
    (void)::syscall(SYS_pidfd_send_signal, pidfd.get(), number, nullptr, 0);
  for (const int64_t until = MonotonicNs() + kKillWaitNs; MonotonicNs() < until;) {
    CARREL_ASSIGN(const pid_t now, Holder());
    if (now == 0) return {};
    ::usleep(5000);
  }
  return Fault(config_.name, "the container has not ended within 10 seconds of being killed");
}

Result<OrderedJson> Container::Inspect() const {
  CARREL_ASSIGN(const ContainerState state, State());
  CARREL_ASSIGN(const pid_t holder, Holder());
  return InspectJson(config_, state, state.running() ? holder : 0);
}

}  // namespace carrel
