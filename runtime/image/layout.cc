#include "image/layout.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <set>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"
#include "image/objects.h"
#include "image/oci.h"

namespace carrel {
namespace {

constexpr const char* kDirectories[] = {"tmp",   "blobs",     "blobs/sha256", "objects", "rootfs",
                                        "trees", "manifests", "configs",      "names"};

Result<UniqueFd> OpenDir(int root, const std::string& name) {
  return OpenBeneath(root, name, O_RDONLY | O_DIRECTORY);
}

bool RecordExists(int root, const std::string& hex) {
  return ::faccessat(root, ("manifests/" + hex + ".json").c_str(), F_OK, 0) == 0;
}

// Removes the entries of `dir_name` for which `keep` is false.
template <typename Keep>
Result<void> RemoveOthers(int root, const std::string& dir_name, Keep keep) {
  CARREL_ASSIGN(UniqueFd dir, OpenDir(root, dir_name));
  CARREL_ASSIGN(auto names, ListDir(dir.get()));
  for (const std::string& name : names)
    if (!keep(name)) CARREL_TRY(RemoveTree(dir.get(), name));
  return {};
}

// The blobs that the images use. An image whose manifest cannot be read uses it knows not what:
// then nothing may be removed.
Result<std::set<std::string>> UsedBlobs(int root, bool* complete) {
  std::set<std::string> used;
  *complete = true;
  CARREL_ASSIGN(UniqueFd dir, OpenDir(root, "manifests"));
  CARREL_ASSIGN(auto records, ListDir(dir.get()));
  for (const std::string& record : records) {
    const std::string hex = record.substr(0, 64);
    used.insert(hex);
    auto fd = OpenBeneath(root, "blobs/sha256/" + hex, O_RDONLY);
    Result<std::string> text = fd ? ReadFd(fd->get(), kMaxDocument) : std::move(fd).error();
    auto manifest = text ? DecodeManifest(*text, "", hex) : Result<Manifest>(text.error());
    if (!manifest) {
      *complete = false;
      continue;
    }
    used.insert(manifest->config.Hex());
    for (const Descriptor& layer : manifest->layers) used.insert(layer.Hex());
  }
  return used;
}

}  // namespace

Result<UniqueFd> OpenStoreRoot(const std::string& images_path) {
  auto opened = OpenPath(images_path, O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error().code == ENOENT) opened = MakeDirs(images_path, 0755);
  if (!opened) return opened;
  // "names" is made last: where it is, all are.
  if (::faccessat(opened->get(), "names", F_OK, 0) == 0) return opened;
  for (const char* name : kDirectories)
    if (::mkdirat(opened->get(), name, 0755) != 0 && errno != EEXIST)
      return SysFault(images_path + "/" + name, "mkdir");
  return opened;
}

Result<UniqueFd> LockStore(int root, LockKind kind) {
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(root, "lock", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const int how = kind == LockKind::kShared      ? LOCK_SH
                  : kind == LockKind::kExclusive ? LOCK_EX
                                                 : LOCK_EX | LOCK_NB;
  while (::flock(fd.get(), how) != 0) {
    if (errno == EWOULDBLOCK) return UniqueFd();
    if (errno != EINTR) return SysFault("images/lock", "flock");
  }
  return fd;
}

Result<WorkDir> WorkDir::Make(int root) {
  CARREL_ASSIGN(UniqueFd tmp, OpenDir(root, "tmp"));
  // The name tells a reader whose it is; whether it still lives, only the lock does.
  const std::string name = std::to_string(::getpid()) + "-" + std::to_string(NowNs());
  if (::mkdirat(tmp.get(), name.c_str(), 0700) != 0) return SysFault("images/tmp/" + name, "mkdir");
  CARREL_ASSIGN(UniqueFd fd, OpenDir(tmp.get(), name));
  // Waits at most for a HasLeftovers that is just looking.
  while (::flock(fd.get(), LOCK_EX) != 0)
    if (errno != EINTR) return SysFault("images/tmp/" + name, "flock");
  return WorkDir(std::move(tmp), std::move(fd), name);
}

WorkDir::~WorkDir() {
  if (!tmp_ || !fd_) return;
  if (!leave_) {
    (void)RemoveTree(tmp_.get(), name_);  // what cannot be removed now, the next sweep removes
    return;
  }
  if (auto names = ListDir(fd_.get()))
    for (const std::string& name : *names) (void)RemoveTree(fd_.get(), name);
}

Result<bool> HasLeftovers(int root) {
  CARREL_ASSIGN(UniqueFd tmp, OpenDir(root, "tmp"));
  CARREL_ASSIGN(auto names, ListDir(tmp.get()));
  for (const std::string& name : names) {
    auto fd = OpenDir(tmp.get(), name);
    if (!fd) {
      if (fd.error().code == ENOENT) continue;
      return true;
    }
    if (::flock(fd->get(), LOCK_SH | LOCK_NB) == 0) return true;
  }
  return false;
}

Result<void> Sweep(int root) {
  CARREL_TRY(RemoveOthers(root, "tmp", [](const std::string&) { return false; }));
  // A record's temporary name starts with a dot.
  CARREL_TRY(RemoveOthers(root, "manifests", [](const std::string& name) {
    return name.size() == 69 && IsLowerHex(name.substr(0, 64), 64) && name.ends_with(".json");
  }));
  auto has_record = [&](const std::string& name) { return RecordExists(root, name); };
  CARREL_TRY(RemoveOthers(root, "rootfs", has_record));
  CARREL_TRY(RemoveOthers(root, "trees", has_record));
  for (const std::string dir : {"names", "configs"})
    CARREL_TRY(RemoveOthers(root, dir, [&](const std::string& name) {
      const std::string hex = RecordOfLink(root, dir + "/" + name);
      return !hex.empty() && RecordExists(root, hex);
    }));
  bool complete = false;
  CARREL_ASSIGN(auto used, UsedBlobs(root, &complete));
  if (complete)
    CARREL_TRY(RemoveOthers(root, "blobs/sha256",
                            [&](const std::string& name) { return used.contains(name); }));
  CARREL_ASSIGN(UniqueFd objects, OpenDir(root, "objects"));
  return RemoveUnusedObjects(objects.get());
}

Result<void> SweepLeftovers(int root, bool wait) {
  CARREL_ASSIGN(const bool leftovers, HasLeftovers(root));
  if (!leftovers) return {};
  CARREL_ASSIGN(UniqueFd lock,
                LockStore(root, wait ? LockKind::kExclusive : LockKind::kTryExclusive));
  if (!lock) return {};
  return Sweep(root);
}

Result<void> PointAtRecord(int root, int work, const std::string& link, const std::string& hex) {
  (void)::unlinkat(work, "link", 0);
  const std::string target = "../manifests/" + hex + ".json";
  if (::symlinkat(target.c_str(), work, "link") != 0) return SysFault(link, "symlink");
  if (::renameat(work, "link", root, link.c_str()) != 0) return SysFault(link, "rename");
  CARREL_ASSIGN(UniqueFd dir, OpenDir(root, link.substr(0, link.find('/'))));
  if (::fsync(dir.get()) != 0) return SysFault(link, "fsync");
  return {};
}

std::string RecordOfLink(int root, const std::string& link) {
  char target[128];
  const ssize_t n = ::readlinkat(root, link.c_str(), target, sizeof target);
  constexpr std::string_view kPrefix = "../manifests/";
  std::string_view text(target, n > 0 ? static_cast<size_t>(n) : 0);
  if (!text.starts_with(kPrefix) || !text.ends_with(".json")) return "";
  text.remove_prefix(kPrefix.size());
  text.remove_suffix(5);
  return IsLowerHex(text, 64) ? std::string(text) : "";
}

}  // namespace carrel
