#include "audit/bpf_objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

std::string Version() { return std::string(kBpfObjectDigest).substr(0, 16); }

std::string VersionLock(const std::string& state_dir, const std::string& version) {
  return state_dir + "/bpf-" + version + ".lock";
}

Result<UniqueFd> Lock(const std::string& path, int operation) {
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_RDWR | O_CREAT, 0600));
  while (::flock(fd.get(), operation) != 0)
    if (errno != EINTR) return SysFault(path, "flock");
  return fd;
}

Result<UniqueFd> GetPinned(const std::string& path) {
  int fd = ::bpf_obj_get(path.c_str());
  if (fd < 0) return SysFault(path, "open the pinned BPF object");
  return UniqueFd(fd);
}

// All programs of the object.
constexpr const char* kPrograms[] = {"on_enter", "on_exit",     "on_fork",
                                     "on_exec",  "on_task_end", "on_rename"};

std::string LinkPath(const std::string& directory, const std::string& program) {
  return directory + "/link-" + program;
}

// What a start needs, if this version is loaded: maps, and the link of each program. A program
// without its link would be missed by nobody: the log would look whole.
Result<void> GetPins(BpfObjects& objects) {
  CARREL_ASSIGN(objects.jobs, GetPinned(objects.directory + "/jobs"));
  CARREL_ASSIGN(objects.slots, GetPinned(objects.directory + "/slots"));
  CARREL_ASSIGN(objects.present, GetPinned(objects.directory + "/present"));
  CARREL_ASSIGN(objects.stopped, GetPinned(objects.directory + "/stopped"));
  objects.links.clear();
  for (const char* program : kPrograms) {
    CARREL_ASSIGN(UniqueFd link, GetPinned(LinkPath(objects.directory, program)));
    objects.links.push_back(std::move(link));
  }
  return {};
}

Result<void> MountBpffs(const std::string& path) {
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(path, 0700));
  struct statfs info {};
  if (::fstatfs(dir.get(), &info) != 0) return SysFault(path, "statfs");
  if (static_cast<unsigned long>(info.f_type) == BPF_FS_MAGIC) return {};
  if (::mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
    return SysFault(path, "mount bpffs");
  return {};
}

// libbpf's messages, kept for the error: the verifier's reason is in them.
std::string* g_messages = nullptr;

int KeepMessage(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG || g_messages == nullptr) return 0;
  // The verifier says at the very end of a long log what it refuses.
  std::string line(1u << 20, '\0');
  const int n = vsnprintf(line.data(), line.size(), format, args);
  line.resize(std::min<size_t>(static_cast<size_t>(std::max(n, 0)), line.size() - 1));
  constexpr size_t kTail = 1024;
  if (line.size() > kTail) line.erase(0, line.size() - kTail);
  if (g_messages->size() < 4096) g_messages->append(line);
  return n;
}

Result<void> PinAll(bpf_object* object, const std::string& directory) {
  for (const char* name : {"jobs", "slots", "present", "rings", "stopped"}) {
    bpf_map* map = bpf_object__find_map_by_name(object, name);
    if (map == nullptr) return Fault("audit", "the BPF object has no map " + std::string(name));
    if (bpf_map__pin(map, (directory + "/" + name).c_str()) != 0)
      return SysFault(directory, std::string("pin the BPF map ") + name);
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    const std::string name = bpf_program__name(program);
    if (std::find(std::begin(kPrograms), std::end(kPrograms), name) == std::end(kPrograms))
      return Fault("audit", "the BPF object has a program " + name + " that nobody holds");
    std::unique_ptr<bpf_link, int (*)(bpf_link*)> link(bpf_program__attach(program),
                                                       &bpf_link__destroy);
    if (!link) return SysFault(directory, "attach the BPF program " + name);
    if (bpf_link__pin(link.get(), LinkPath(directory, name).c_str()) != 0)
      return SysFault(directory, "pin the BPF link " + name);
  }
  return {};
}

Result<void> RemovePins(int bpffs, const std::string& version) {
  CARREL_ASSIGN(UniqueFd dir, OpenBeneath(bpffs, version, O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(auto names, ListDir(dir.get()));
  for (const std::string& name : names)
    if (::unlinkat(dir.get(), name.c_str(), 0) != 0) return SysFault(name, "unlink a BPF pin");
  if (::unlinkat(bpffs, version.c_str(), AT_REMOVEDIR) != 0) return SysFault(version, "rmdir");
  return {};
}

// Loads into a directory of another name and renames it: what has its final name is complete.
Result<void> Load(const std::string& bpffs, const std::string& version) {
  CARREL_ASSIGN(UniqueFd dir, OpenPath(bpffs, O_RDONLY | O_DIRECTORY));
  const std::string fresh = version + "-new";
  if (::faccessat(dir.get(), fresh.c_str(), F_OK, 0) == 0) CARREL_TRY(RemovePins(dir.get(), fresh));
  if (::mkdirat(dir.get(), fresh.c_str(), 0700) != 0) return SysFault(bpffs, "mkdir " + fresh);

  std::string messages;
  g_messages = &messages;
  libbpf_set_print(&KeepMessage);
  std::unique_ptr<bpf_object, void (*)(bpf_object*)> object(
      bpf_object__open_mem(kBpfObject, kBpfObjectSize, nullptr), &bpf_object__close);
  int failed = !object || bpf_object__load(object.get()) != 0 ? errno : 0;
  g_messages = nullptr;
  libbpf_set_print(nullptr);
  if (failed != 0) {
    Error error = SysFault("audit", "load the BPF programs", failed);
    error.hint = "carrel needs BPF tracepoints with BTF (Linux 6.1 or later), as root. " +
                 messages.substr(messages.size() > 512 ? messages.size() - 512 : 0);
    return error;
  }
  CARREL_TRY(PinAll(object.get(), bpffs + "/" + fresh));
  if (::renameat(dir.get(), fresh.c_str(), dir.get(), version.c_str()) != 0)
    return SysFault(bpffs, "rename " + fresh);
  return {};
}

// Pins of this version of which some are gone. No job may use what is left of them.
Result<void> RemoveBroken(const BpfObjects& objects, const std::string& bpffs) {
  CARREL_ASSIGN(UniqueFd dir, OpenPath(bpffs, O_RDONLY | O_DIRECTORY));
  if (::faccessat(dir.get(), Version().c_str(), F_OK, 0) != 0) return {};
  if (::flock(objects.lock.get(), LOCK_EX | LOCK_NB) != 0)
    return Fault(objects.directory, "some of the pinned BPF programs and maps are gone",
                 "Jobs use the others: when these have ended, the next start makes them anew");
  CARREL_TRY(RemovePins(dir.get(), Version()));
  if (::flock(objects.lock.get(), LOCK_SH) != 0) return SysFault(objects.directory, "flock");
  return {};
}

}  // namespace

Result<BpfObjects> FindBpfObjects(const std::string& state_dir) {
  BpfObjects objects;
  objects.directory = state_dir + "/bpf/" + Version();
  CARREL_ASSIGN(objects.lock, Lock(VersionLock(state_dir, Version()), LOCK_SH));
  CARREL_TRY(GetPins(objects));
  return objects;
}

Result<BpfObjects> OpenBpfObjects(const std::string& state_dir) {
  BpfObjects objects;
  const std::string bpffs = state_dir + "/bpf";
  objects.directory = bpffs + "/" + Version();
  CARREL_ASSIGN(objects.lock, Lock(VersionLock(state_dir, Version()), LOCK_SH));
  if (GetPins(objects)) return objects;
  CARREL_ASSIGN(UniqueFd loading, Lock(state_dir + "/bpf-load.lock", LOCK_EX));
  CARREL_TRY(MountBpffs(bpffs));
  if (GetPins(objects)) return objects;  // somebody else loaded while this process waited
  CARREL_TRY(RemoveBroken(objects, bpffs));
  CARREL_TRY(Load(bpffs, Version()));
  CARREL_TRY(GetPins(objects));
  loading.reset();
  // Versions before this one that nothing uses are removed now; failing to is no harm to the job.
  (void)RemoveBpfObjects(state_dir, true).has_value();
  return objects;
}

Result<UniqueFd> OpenRing(const BpfObjects& objects, uint32_t slot) {
  const std::string path = objects.directory + "/ring-" + std::to_string(slot);
  auto pinned = GetPinned(path);
  if (pinned || pinned.error().code != ENOENT) return pinned;
  UniqueFd ring(
      ::bpf_map_create(BPF_MAP_TYPE_RINGBUF, "carrel_ring", 0, 0, CARREL_RING_BYTES, nullptr));
  if (!ring) return SysFault("audit", "make a BPF ring");
  CARREL_ASSIGN(UniqueFd rings, GetPinned(objects.directory + "/rings"));
  int fd = ring.get();
  if (::bpf_map_update_elem(rings.get(), &slot, &fd, BPF_ANY) != 0)
    return SysFault("audit", "put a ring into its slot");
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return SysFault(path, "pin the ring");
  return ring;
}

Result<int> RemoveBpfObjects(const std::string& state_dir, bool keep_own) {
  auto bpffs = OpenPath(state_dir + "/bpf", O_RDONLY | O_DIRECTORY);
  if (!bpffs) {
    if (bpffs.error().code == ENOENT) return 0;
    return std::move(bpffs).error();
  }
  struct statfs info {};
  if (::fstatfs(bpffs->get(), &info) != 0 ||
      static_cast<unsigned long>(info.f_type) != BPF_FS_MAGIC)
    return 0;
  CARREL_ASSIGN(UniqueFd loading, Lock(state_dir + "/bpf-load.lock", LOCK_EX));
  CARREL_ASSIGN(auto versions, ListDir(bpffs->get()));
  int removed = 0;
  for (const std::string& version : versions) {
    // The kernel puts files of its own into a bpffs (maps.debug).
    if (!IsLowerHex(version.substr(0, 16), 16) || (keep_own && version == Version())) continue;
    auto unused = Lock(VersionLock(state_dir, version), LOCK_EX | LOCK_NB);
    if (!unused) continue;  // a job of that version runs
    CARREL_TRY(RemovePins(bpffs->get(), version));
    ++removed;
  }
  return removed;
}

}  // namespace carrel
