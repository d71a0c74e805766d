#include "base/fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdio>
#include <memory>

namespace carrel {
namespace {

Result<UniqueFd> OpenAt2(int dir, const std::string& path, int flags, mode_t mode,
                         uint64_t resolve) {
  if (path.find('\0') != std::string::npos)
    return SysFault(path.c_str(), "open: the path holds a NUL byte", EINVAL);
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC;
  how.mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? mode : 0;
  how.resolve = resolve;
  const char* name = path.empty() ? "." : path.c_str();
  for (;;) {
    long fd = ::syscall(SYS_openat2, dir, name, &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    // EAGAIN: a rename raced with the resolution; the kernel asks for another try.
    if (errno != EINTR && errno != EAGAIN) return SysFault(path, "open");
  }
}

std::vector<std::string> SplitPath(const std::string& path) {
  std::vector<std::string> parts;
  for (size_t start = 0; start < path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    if (end > start) parts.push_back(path.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

Result<UniqueFd> MakeDirsFrom(UniqueFd current, const std::string& path, mode_t mode) {
  for (const std::string& part : SplitPath(path)) {
    if (::mkdirat(current.get(), part.c_str(), mode) != 0 && errno != EEXIST)
      return SysFault(path, "mkdir " + part);
    CARREL_ASSIGN(current, OpenBeneath(current.get(), part, O_RDONLY | O_DIRECTORY));
  }
  return current;
}

Result<void> MoveUp(int directory, const std::string& entry, int top, uint64_t& moved) {
  for (;;) {
    const std::string up = ".removed-" + std::to_string(++moved);
    if (::renameat(directory, entry.c_str(), top, up.c_str()) == 0 || errno == ENOENT) return {};
    // The name is taken, by what an earlier try has left or by chance: the next one.
    if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR)
      return SysFault(entry, "rename, to remove it");
  }
}

// Empties the directory `name` of `top` and removes it; directories in it are moved up into `top`,
// under names that count from `moved`.
Result<void> FlattenDirectory(int top, const std::string& name, dev_t device, uint64_t& moved) {
  auto directory = OpenBeneath(top, name, O_RDONLY | O_DIRECTORY);
  if (!directory && directory.error().code == ENOENT) return {};
  if (!directory) return std::move(directory).error();
  struct stat info {};
  if (::fstat(directory->get(), &info) != 0) return SysFault(name, "fstat");
  if (info.st_dev != device) return SysFault(name, "remove: a file system is mounted here", EXDEV);
  CARREL_ASSIGN(auto entries, ListDir(directory->get()));
  for (const std::string& entry : entries) {
    if (::unlinkat(directory->get(), entry.c_str(), 0) == 0 || errno == ENOENT) continue;
    if (errno != EISDIR) return SysFault(entry, "unlink");
    if (::unlinkat(directory->get(), entry.c_str(), AT_REMOVEDIR) == 0) continue;
    CARREL_TRY(MoveUp(directory->get(), entry, top, moved));
  }
  if (::unlinkat(top, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  return SysFault(name, "rmdir");
}

// Never more than one level deep: a tree of any depth takes few descriptors and no stack.
Result<void> EmptyDirectory(int top, dev_t device) {
  for (uint64_t moved = 0;;) {
    CARREL_ASSIGN(auto names, ListDir(top));
    if (names.empty()) return {};
    for (const std::string& name : names) {
      if (::unlinkat(top, name.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR) return SysFault(name, "unlink");
      CARREL_TRY(FlattenDirectory(top, name, device, moved));
    }
  }
}

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

}  // namespace

Result<UniqueFd> OpenPath(const std::string& path, int flags, mode_t mode) {
  if (path.empty()) return SysFault(path, "open: empty path", ENOENT);
  return OpenAt2(AT_FDCWD, path, flags, mode, 0);
}

Result<UniqueFd> OpenBeneath(int dir, const std::string& path, int flags, mode_t mode) {
  return OpenAt2(dir, path, flags, mode,
                 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> OpenInRoot(int root, const std::string& path, int flags, mode_t mode) {
  return OpenAt2(root, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

Result<UniqueFd> MakeDirsBeneath(int dir, const std::string& path, mode_t mode) {
  CARREL_ASSIGN(UniqueFd start, OpenBeneath(dir, ".", O_RDONLY | O_DIRECTORY));
  return MakeDirsFrom(std::move(start), path, mode);
}

Result<UniqueFd> MakeDirs(const std::string& path, mode_t mode) {
  auto there = OpenPath(path, O_RDONLY | O_DIRECTORY);
  if (there || there.error().code != ENOENT) return there;
  // The operator's own path may pass through links (/var/run): make what is missing, then open it.
  std::string made = path.starts_with('/') ? "/" : "";
  for (const std::string& part : SplitPath(path)) {
    made += part + "/";
    if (::mkdir(made.c_str(), mode) != 0 && errno != EEXIST) return SysFault(path, "mkdir " + made);
  }
  return OpenPath(path, O_RDONLY | O_DIRECTORY);
}

Result<std::string> ReadFd(int fd, size_t max_bytes) {
  std::string data;
  struct stat info {};
  if (::fstat(fd, &info) == 0 && info.st_size > 0)
    data.reserve(std::min(static_cast<size_t>(info.st_size), max_bytes) + 1);
  for (;;) {
    size_t old_size = data.size();
    size_t want = std::max<size_t>(4096, data.capacity() - old_size);
    data.resize(old_size + want);
    ssize_t n = ::read(fd, data.data() + old_size, want);
    data.resize(old_size + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0) return data;
    if (n < 0 && errno != EINTR) return SysFault("", "read");
    if (data.size() > max_bytes)
      return SysFault("", "read: longer than " + std::to_string(max_bytes) + " bytes", EFBIG);
  }
}

Result<std::string> ReadFile(const std::string& path, size_t max_bytes) {
  CARREL_ASSIGN(UniqueFd fd, OpenPath(path, O_RDONLY));
  auto data = ReadFd(fd.get(), max_bytes);
  if (!data) data.error().where = path;
  return data;
}

Result<void> WriteAll(int fd, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("", "write");
    data.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

Result<void> WriteFileAtomic(int dir, const std::string& name, std::string_view data, mode_t mode,
                             uid_t owner, gid_t group) {
  // A dot first, so that readers of the directory pass it over; the pid, so that writers don't
  // meet.
  const std::string temporary = "." + name + ".tmp." + std::to_string(::getpid());
  auto write = [&]() -> Result<void> {
    CARREL_ASSIGN(UniqueFd fd,
                  OpenBeneath(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
    CARREL_TRY(WriteAll(fd.get(), data));
    if (::fchown(fd.get(), owner, group) != 0) return SysFault(name, "fchown");
    if (::fchmod(fd.get(), mode) != 0) return SysFault(name, "fchmod");
    if (::fsync(fd.get()) != 0) return SysFault(name, "fsync");
    if (::renameat(dir, temporary.c_str(), dir, name.c_str()) != 0) return SysFault(name, "rename");
    if (::fsync(dir) != 0) return SysFault(name, "fsync of the directory");
    return {};
  };
  auto written = write();
  if (!written) {
    (void)::unlinkat(dir, temporary.c_str(), 0);
    if (written.error().where.empty()) written.error().where = name;
  }
  return written;
}

Result<void> RemoveTemporaries(int dir, const std::string& name) {
  CARREL_ASSIGN(const auto entries, ListDir(dir));
  for (const std::string& entry : entries)
    if (entry.starts_with("." + name + ".tmp.") && ::unlinkat(dir, entry.c_str(), 0) != 0 &&
        errno != ENOENT)
      return SysFault(entry, "unlink");
  return {};
}

Result<void> LockExclusively(int fd, const std::string& where) {
  while (::flock(fd, LOCK_EX) != 0)
    if (errno != EINTR) return SysFault(where, "flock");
  return {};
}

Result<std::vector<std::string>> ListDir(int dir) {
  CARREL_ASSIGN(UniqueFd copy, OpenBeneath(dir, ".", O_RDONLY | O_DIRECTORY));
  DIR* raw = ::fdopendir(copy.get());
  if (raw == nullptr) return SysFault("", "fdopendir");
  (void)copy.release();  // the stream owns it now
  std::unique_ptr<DIR, int (*)(DIR*)> stream(raw, &::closedir);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return SysFault("", "readdir");
  std::sort(names.begin(), names.end());
  return names;
}

Result<void> RemoveTree(int dir, const std::string& name) {
  if (::unlinkat(dir, name.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR) return SysFault(name, "unlink");
  struct stat info {};
  CARREL_ASSIGN(UniqueFd top, OpenBeneath(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::fstat(top.get(), &info) != 0) return SysFault(name, "fstat");
  CARREL_TRY(EmptyDirectory(top.get(), info.st_dev));
  if (::unlinkat(dir, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return {};
  return SysFault(name, "rmdir");
}

bool IsSafeComponent(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos &&
         std::none_of(name.begin(), name.end(), IsControl);
}

bool IsNormalRelativePath(std::string_view path) {
  if (path.empty() || path.size() > 4095) return false;
  for (;;) {
    size_t slash = path.find('/');
    if (!IsSafeComponent(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

}  // namespace carrel
