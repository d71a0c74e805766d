#include "launch/lower.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/fs.h"
#include "launch/id_map.h"

extern "C" const char carrel_init_begin[];
extern "C" const char carrel_init_end[];

namespace carrel {
namespace {

using Kind = Operation::Kind;
using child::Step;

constexpr uint64_t kAllAttributes =
    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// Gives a detached mount exactly `flags`, whatever the file system that it came from was mounted
// with (a state directory on a nodev mount must not take /dev away, nor the other way round).
Result<void> SetAttributes(int mount, uint64_t flags) {
  mount_attr attributes = {};
  attributes.attr_set = flags;
  attributes.attr_clr = kAllAttributes & ~flags;
  attributes.propagation = MS_PRIVATE;
  if (::syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0)
    return SysFault("", "mount_setattr");
  return {};
}

// `checked` is the source as somebody has checked it. Without one the source is a path of carrel's
// own or of the operator; its last component may not be a link.
Result<UniqueFd> CloneTree(const std::string& source, uint64_t flags, int checked = -1) {
  UniqueFd opened;
  if (checked < 0) {
    CARREL_ASSIGN(opened, OpenPath(source, O_PATH | O_NOFOLLOW));
    checked = opened.get();
  }
  struct stat info {};
  if (::fstat(checked, &info) != 0) return SysFault(source, "fstat");
  if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))
    return Fault(source, "is neither a directory nor a regular file");
  UniqueFd mount(static_cast<int>(
      ::syscall(SYS_open_tree, checked, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)));
  if (!mount) return SysFault(source, "open_tree");
  CARREL_TRY(SetAttributes(mount.get(), flags));
  return mount;
}

using Options = std::vector<std::pair<std::string, std::string>>;

Result<UniqueFd> MakeMount(const char* type, const Options& options, uint64_t flags) {
  UniqueFd fs(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
  if (!fs) return SysFault("", std::string("fsopen ") + type);
  auto config = [&](unsigned command, const char* key, const char* value) {
    return ::syscall(SYS_fsconfig, fs.get(), command, key, value, 0);
  };
  for (const auto& [key, value] : options)
    if (config(FSCONFIG_SET_STRING, key.c_str(), value.c_str()) != 0)
      return SysFault("", std::string("fsconfig ") + type + " " + key + "=" + value);
  if (config(FSCONFIG_CMD_CREATE, nullptr, nullptr) != 0)
    return SysFault("", std::string("fsconfig create ") + type);
  UniqueFd mount(static_cast<int>(::syscall(SYS_fsmount, fs.get(), FSMOUNT_CLOEXEC, flags)));
  if (!mount) return SysFault("", std::string("fsmount ") + type);
  return mount;
}

// A layer of an overlay, named through its descriptor: the action reads mount options in
// /proc/self/mountinfo, and host paths are not its business. (The path needs no escaping, either.)
struct Layer {
  UniqueFd fd;
  std::string path;
};

Result<Layer> OpenLayer(const std::string& path) {
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_PATH | O_DIRECTORY | O_NOFOLLOW));
  std::string name = "/proc/self/fd/" + std::to_string(fd.get());
  return Layer{std::move(fd), std::move(name)};
}

// No redirects, indexes or metadata-only copies: the upper layer alone says what was written, and
// extended attributes in a lower layer mean nothing.
const Options kOverlayOptions = {
    {"source", "carrel"}, {"redirect_dir", "nofollow"}, {"index", "off"}, {"metacopy", "off"}};

Result<UniqueFd> MakeRoot(const Operation& operation) {
  if (operation.options.empty()) return CloneTree(operation.source, operation.mount_flags);
  CARREL_ASSIGN(const Layer skeleton, OpenLayer(operation.options));
  CARREL_ASSIGN(const Layer rootfs, OpenLayer(operation.source));
  Options options = kOverlayOptions;
  options.emplace_back("lowerdir", skeleton.path + ":" + rootfs.path);
  return MakeMount("overlay", options, operation.mount_flags);
}

Result<UniqueFd> MakeOverlay(const Operation& operation) {
  CARREL_ASSIGN(const Layer lower, OpenLayer(operation.source));
  CARREL_ASSIGN(const Layer upper, OpenLayer(operation.options));
  CARREL_ASSIGN(const Layer work, OpenLayer(operation.source2));
  Options options = kOverlayOptions;
  options.emplace_back("lowerdir", lower.path);
  options.emplace_back("upperdir", upper.path);
  options.emplace_back("workdir", work.path);
  return MakeMount("overlay", options, operation.mount_flags);
}

Result<UniqueFd> MakeTmpfs(const Operation& operation) {
  Options options = {{"source", "carrel"}};
  std::istringstream in(operation.options);
  for (std::string option; std::getline(in, option, ',');) {
    const size_t equals = option.find('=');
    options.emplace_back(option.substr(0, equals), option.substr(equals + 1));
  }
  return MakeMount("tmpfs", options, operation.mount_flags);
}

// A sealed memory file: nobody, not even through /proc/1/exe, can write the init (CVE-2019-5736).
Result<UniqueFd> InitFile() {
  constexpr unsigned kMfdExec = 0x10;  // linux 6.3; before, memory files are executable anyway
  UniqueFd file(::memfd_create("carrel-init", MFD_CLOEXEC | MFD_ALLOW_SEALING | kMfdExec));
  if (!file && errno == EINVAL)
    file.reset(::memfd_create("carrel-init", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file) return SysFault("init", "memfd_create");
  CARREL_TRY(WriteAll(
      file.get(), {carrel_init_begin, static_cast<size_t>(carrel_init_end - carrel_init_begin)}));
  if (::fchmod(file.get(), 0555) != 0) return SysFault("init", "fchmod");
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
      0)
    return SysFault("init", "seal");
  return file;
}

class Lowering {
 public:
  Lowering(const LaunchPlan& plan, const HostTemplates& templates, const Cgroup& cgroup)
      : plan_(plan), templates_(templates), cgroup_(cgroup) {}

  Result<std::unique_ptr<LoweredPlan>> Run() {
    for (const Operation& operation : plan_.operations) {
      auto lowered = Lower(operation);
      if (!lowered) {
        Error error = std::move(lowered).error();
        if (!error.where.empty()) error.what += " " + error.where;
        error.where = Describe(operation);
        return error;
      }
      out_->operations.push_back(*lowered);
    }
    LowerStrings();
    return std::move(out_);
  }

 private:
  Result<child::Operation> Lower(const Operation& operation) {
    switch (operation.kind) {
      case Kind::kJoinCgroup:
        // Not cgroup.procs: that a process moves as a whole is worth a grace period of the kernel
        // (8 to 16 ms on an idle host). The child has one thread, and moves itself.
        return WithFd(Step::kJoinCgroup,
                      OpenPath(cgroup_.PathIn(operation.source) + "/tasks", O_WRONLY));
      case Kind::kRoot:
        return WithFd(Step::kAttachRoot, MakeRoot(operation), Keep(templates_.staging()));
      case Kind::kBind:
        return Bind(operation);
      case Kind::kTmpfs:
        return Attach(operation, TmpfsWithMountPoints(operation));
      case Kind::kOverlay:
        return Attach(operation, MakeOverlay(operation));
      case Kind::kNoMoreUserNamespaces:
        return WithFd(Step::kNoMoreUserNamespaces, OpenPath("/proc", O_PATH | O_DIRECTORY));
      case Kind::kExecInit:
        return WithFd(Step::kExecInit, InitFile());
      default:
        return LowerPlain(operation);
    }
  }

  Result<UniqueFd> MakeBind(const Operation& operation) {
    CARREL_ASSIGN(UniqueFd mount,
                  CloneTree(operation.source, operation.mount_flags, operation.source_fd));
    if (!operation.id_mapped) return mount;
    CARREL_ASSIGN(const UniqueFd ids,
                  MakeIdMap(static_cast<uid_t>(operation.number),
                            static_cast<gid_t>(operation.number2), plan_.host_uid, plan_.host_gid));
    CARREL_TRY(ApplyIdMap(mount.get(), ids.get()));
    return mount;
  }

  // What is mounted beneath an empty file system finds its mount point there.
  Result<UniqueFd> TmpfsWithMountPoints(const Operation& tmpfs) {
    CARREL_ASSIGN(UniqueFd mount, MakeTmpfs(tmpfs));
    for (const Operation& operation : plan_.operations) {
      if (!operation.target.starts_with(tmpfs.target + "/")) continue;
      struct stat info {};
      const bool file = operation.kind == Kind::kBind &&
                        ::stat(operation.source.c_str(), &info) == 0 && S_ISREG(info.st_mode);
      CARREL_TRY(
          MakeMountPoint(mount.get(), operation.target.substr(tmpfs.target.size() + 1), file));
    }
    return mount;
  }

  child::Operation LowerPlain(const Operation& operation) {
    switch (operation.kind) {
      case Kind::kPrivateMounts:
        return {.step = Step::kPrivateMounts, .number = plan_.namespaces & CLONE_NEWTIME};
      case Kind::kProc:
        return {.step = Step::kProc, .path = Keep(operation.target.substr(1))};
      case Kind::kPivot:
        return {.step = Step::kPivot};
      case Kind::kLoopbackUp:
        return {.step = Step::kLoopbackUp};
      case Kind::kHostname:
        return {.step = Step::kHostname, .path = Keep(operation.source)};
      case Kind::kAffinity:
        return Affinity(operation.number);
      case Kind::kRlimit:
        return {.step = Step::kRlimit,
                .number = static_cast<uint64_t>(operation.resource),
                .number2 = operation.number};
      case Kind::kUserNamespace:
        return {.step = Step::kUserNamespace, .number = plan_.host_uid};
      case Kind::kIds:
        return {.step = Step::kIds, .number = operation.number, .number2 = operation.number2};
      case Kind::kWorkingDirectory:
        return {.step = Step::kWorkingDirectory, .path = Keep(operation.target)};
      case Kind::kKeyring:
        return {.step = Step::kKeyring};
      case Kind::kDropCapabilities:
        return {.step = Step::kDropCapabilities};
      case Kind::kNoNewPrivileges:
        return {.step = Step::kNoNewPrivileges};
      case Kind::kLandlock:
        return Landlock();
      case Kind::kStreams:
        return {.step = Step::kStreams};
      default:
        return {.step = Step::kSeccomp, .data = out_->filters};
    }
  }

  // Many names in /proc are covered by one and the same file or directory. It is opened and
  // attached once; the child binds it over the others.
  Result<child::Operation> Bind(const Operation& operation) {
    constexpr std::string_view kProc = "/proc/";
    const bool in_proc = operation.target.starts_with(kProc) &&
                         operation.target.find('/', kProc.size()) == std::string::npos;
    if (!in_proc) return Attach(operation, MakeBind(operation));
    const char* name = Keep(operation.target) + kProc.size();
    const auto [first, fresh] =
        covered_.try_emplace(operation.source + " " + std::to_string(operation.mount_flags), name);
    if (fresh) return Attach(operation, CloneTree(operation.source, operation.mount_flags));
    return child::Operation{.step = Step::kCoverProc, .path = name, .data = first->second};
  }

  Result<child::Operation> WithFd(Step step, Result<UniqueFd> fd, const char* path = nullptr) {
    if (!fd) return std::move(fd).error();
    // Above the descriptors that the child puts in place (0 to 3).
    if (fd->get() < 10) *fd = UniqueFd(::fcntl(fd->get(), F_DUPFD_CLOEXEC, 10));
    if (!*fd) return SysFault("", "fcntl");
    out_->fds.push_back(std::move(*fd));
    return child::Operation{.step = step, .fd = out_->fds.back().get(), .path = path};
  }

  Result<child::Operation> Attach(const Operation& operation, Result<UniqueFd> mount) {
    return WithFd(Step::kAttach, std::move(mount), Keep(operation.target.substr(1)));
  }

  child::Operation Affinity(uint64_t count) {
    cpu_set_t allowed, chosen;
    CPU_ZERO(&allowed);
    CPU_ZERO(&chosen);
    ::sched_getaffinity(0, sizeof allowed, &allowed);
    // Another window for each run, so that jobs don't all meet on the first processors.
    std::vector<int> cpus;
    for (int i = 0; i < CPU_SETSIZE; ++i)
      if (CPU_ISSET(i, &allowed)) cpus.push_back(i);
    for (uint64_t i = 0; i < count; ++i)
      CPU_SET(cpus[(static_cast<size_t>(::getpid()) + i) % cpus.size()], &chosen);
    const auto* bytes = reinterpret_cast<const unsigned char*>(&chosen);
    out_->cpu_mask.assign(bytes, bytes + sizeof chosen);
    return {.step = Step::kAffinity, .number = sizeof chosen, .data = out_->cpu_mask.data()};
  }

  child::Operation Landlock() {
    for (const std::string& path : plan_.landlock_writable)
      out_->landlock_paths.push_back(Keep(path));
    out_->landlock = {.writable = out_->landlock_paths.data(),
                      .count = out_->landlock_paths.size(),
                      .abi = plan_.landlock_abi,
                      .tcp = !plan_.landlock_tcp_port.has_value(),
                      .port = plan_.landlock_tcp_port.value_or(0)};
    return {.step = Step::kLandlock, .data = &out_->landlock};
  }

  void LowerStrings() {
    out_->argv.push_back(const_cast<char*>("carrel-init"));
    for (const std::string& arg : plan_.argv) out_->argv.push_back(const_cast<char*>(Keep(arg)));
    out_->argv.push_back(nullptr);
    for (const std::string& entry : plan_.environment)
      out_->environment.push_back(const_cast<char*>(Keep(entry)));
    out_->environment.push_back(nullptr);
  }

  const char* Keep(const std::string& text) { return out_->strings.emplace_back(text).c_str(); }

  const LaunchPlan& plan_;
  const HostTemplates& templates_;
  const Cgroup& cgroup_;
  // What covers names in /proc: source to the name that it covered first.
  std::map<std::string, const char*> covered_;
  std::unique_ptr<LoweredPlan> out_ = std::make_unique<LoweredPlan>();
};

}  // namespace

Result<void> MakeMountPoint(int root, const std::string& path, bool file) {
  if (!file) {
    CARREL_TRY(MakeDirsBeneath(root, path, 0755));
    return {};
  }
  const size_t slash = path.find_last_of('/');
  const std::string parent = slash == std::string::npos ? "" : path.substr(0, slash);
  CARREL_ASSIGN(const UniqueFd directory, MakeDirsBeneath(root, parent, 0755));
  CARREL_TRY(OpenBeneath(directory.get(), path.substr(slash + 1), O_WRONLY | O_CREAT, 0444));
  return {};
}

void LoweredPlan::SetFilter(const SeccompFilter& chosen) {
  filters[0].len = static_cast<unsigned short>(chosen.instructions.size());
  filters[0].filter = const_cast<sock_filter*>(chosen.instructions.data());
}

void LoweredPlan::Listen() {
  static sock_filter notify = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
  filters[1] = {1, &notify};
}

Result<std::unique_ptr<LoweredPlan>> LowerPlan(const LaunchPlan& plan,
                                               const HostTemplates& templates,
                                               const Cgroup& cgroup) {
  return Lowering(plan, templates, cgroup).Run();
}

}  // namespace carrel
