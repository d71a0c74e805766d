#include "job/collect_copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr size_t kBuffer = 256u << 10;

Result<void> WriteAt(int fd, const char* data, size_t size, uint64_t at) {
  while (size > 0) {
    const ssize_t n = ::pwrite(fd, data, size, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("", "write");
    data += n;
    size -= static_cast<size_t>(n);
    at += static_cast<uint64_t>(n);
  }
  return {};
}

// The end of the hole at `at`, or `at` itself where there is data.
uint64_t SkipHole(int fd, uint64_t at, uint64_t size) {
  const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (data >= 0) return std::min<uint64_t>(static_cast<uint64_t>(data), size);
  return errno == ENXIO ? size : at;  // no data up to the end; or not a file system with holes
}

// How much to read at `at`, so that a read does not run into the next hole.
size_t ReadSize(int fd, uint64_t at, bool sparse) {
  const off_t hole = sparse ? ::lseek(fd, static_cast<off_t>(at), SEEK_HOLE) : -1;
  if (hole <= static_cast<off_t>(at)) return kBuffer;
  return std::min<uint64_t>(kBuffer, static_cast<uint64_t>(hole) - at);
}

Error NoDirectory(Result<UniqueFd> opened, const std::string& path) {
  Error error = std::move(opened).error();
  error.where = path;
  error.hint = "A file or link stands in the workspace where this directory belongs";
  return error;
}

}  // namespace

Copier::Copier(std::function<Result<void>()> check) : check_(std::move(check)), buffer_(kBuffer) {}

// A hole of a terabyte is read as fast as it can be hashed: minutes.
Result<void> Copier::HashZeros(Sha256& hash, uint64_t count) {
  std::fill(buffer_.begin(), buffer_.end(), '\0');
  while (count > 0) {
    if (check_) CARREL_TRY(check_());
    const size_t now = std::min<uint64_t>(kBuffer, count);
    hash.Update({buffer_.data(), now});
    count -= now;
  }
  return {};
}

Result<CopiedFile> Copier::Copy(int from, int to, uint64_t max_bytes) {
  struct stat info {};
  if (::fstat(from, &info) != 0) return SysFault("", "fstat");
  const auto size = static_cast<uint64_t>(info.st_size);
  const bool sparse = static_cast<uint64_t>(info.st_blocks) * 512 < size;
  const bool cloned = try_clone_ && size > 0 && ::ioctl(to, FICLONE, from) == 0;
  if (try_clone_ && size > 0 && !cloned) try_clone_ = false;
  // A clone is hashed from the copy: the original is not looked at twice.
  const int source = cloned ? to : from;
  Sha256 hash;
  uint64_t at = 0;
  for (;;) {
    if (check_) CARREL_TRY(check_());
    if (at > max_bytes) return SysFault("", "copy: the file is too large, or grew", EFBIG);
    const uint64_t data = sparse ? SkipHole(source, at, size) : at;
    if (data > at) {
      CARREL_TRY(HashZeros(hash, data - at));
      at = data;
      continue;
    }
    const size_t want = ReadSize(source, at, sparse);
    const ssize_t n = ::pread(source, buffer_.data(), want, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("", "read");
    if (n == 0) break;
    hash.Update({buffer_.data(), static_cast<size_t>(n)});
    if (!cloned) CARREL_TRY(WriteAt(to, buffer_.data(), static_cast<size_t>(n), at));
    at += static_cast<uint64_t>(n);
  }
  // A hole at the end is only a length.
  if (sparse && ::ftruncate(to, static_cast<off_t>(at)) != 0) return SysFault("", "ftruncate");
  return CopiedFile{at, hash.HexFinal()};
}

std::pair<std::string, std::string> SplitLast(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

Result<UniqueFd> MakeLevelDirs(int root, const std::string& path, const LevelOwnership& ownership) {
  CARREL_ASSIGN(UniqueFd current, OpenBeneath(root, ".", O_RDONLY | O_DIRECTORY));
  for (size_t start = 0; start < path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string part = path.substr(start, end - start);
    start = end + 1;
    if (part.empty()) continue;
    const bool made = ::mkdirat(current.get(), part.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) return SysFault(path, "mkdir");
    auto next = OpenBeneath(current.get(), part, O_RDONLY | O_DIRECTORY);
    if (!next) return NoDirectory(std::move(next), path);
    const UniqueFd parent = std::exchange(current, std::move(*next));
    if (!made) continue;
    if (::fchown(current.get(), ownership.owner, ownership.group) != 0)
      return SysFault(path, "fchown");
    if (::fchmod(current.get(), ownership.directory_mode) != 0) return SysFault(path, "fchmod");
    if (::fsync(parent.get()) != 0) return SysFault(path, "fsync of the directory");
  }
  return current;
}

Staging::Staging(UniqueFd workspace, UniqueFd dir, std::string name)
    : workspace_(std::move(workspace)), dir_(std::move(dir)), name_(std::move(name)) {}

Staging::Staging(Staging&& other) noexcept = default;

Staging::~Staging() {
  // Errors have no reader here; what is left is removed with the next staging of this job.
  if (workspace_) (void)RemoveTree(workspace_.get(), name_).has_value();
}

Result<Staging> Staging::Create(int workspace, const std::string& job_id) {
  const std::string name = kStagingPrefix + job_id;
  if (!IsSafeComponent(name)) return BadInput("/id", "the job id cannot be part of a file name");
  CARREL_ASSIGN(UniqueFd root, OpenBeneath(workspace, ".", O_RDONLY | O_DIRECTORY));
  CARREL_TRY(RemoveTree(root.get(), name));
  if (::mkdirat(root.get(), name.c_str(), 0700) != 0) return SysFault("outputs", "mkdir (staging)");
  CARREL_ASSIGN(UniqueFd dir, OpenBeneath(root.get(), name, O_RDONLY | O_DIRECTORY));
  return Staging(std::move(root), std::move(dir), name);
}

Result<UniqueFd> Staging::Add(const std::string& path, const LevelOwnership& ownership) {
  const std::string name = std::to_string(staged_.size());
  auto file = OpenBeneath(dir_.get(), name, O_RDWR | O_CREAT | O_EXCL, 0600);
  if (!file) {
    file.error().where = path;
    return file;
  }
  staged_.push_back({path, name, ownership});
  return file;
}

Result<int> Staging::Directory(const std::string& path, const LevelOwnership& ownership) {
  if (!cached_dir_ || cached_path_ != path) {
    CARREL_ASSIGN(cached_dir_, MakeLevelDirs(workspace_.get(), path, ownership));
    cached_path_ = path;
  }
  return cached_dir_.get();
}

Result<void> Staging::CheckPlaces() const {
  std::string looked_at = "/";  // no relative path
  UniqueFd dir;
  for (const Staged& file : staged_) {
    const auto [directory, name] = SplitLast(file.path);
    if (directory != looked_at) {
      auto opened = OpenBeneath(workspace_.get(), directory.empty() ? "." : directory,
                                O_RDONLY | O_DIRECTORY);
      if (!opened && opened.error().code != ENOENT)
        return NoDirectory(std::move(opened), directory);
      dir = opened ? std::move(*opened) : UniqueFd();
      looked_at = directory;
    }
    struct stat info {};
    if (dir && ::fstatat(dir.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(info.st_mode))
      return Error{ErrorKind::kRefused, "the workspace has a directory where this output belongs",
                   file.path, "Rename the output, or have the directory removed", EISDIR};
  }
  return {};
}

Result<void> Staging::MakeDirectories() {
  for (const Staged& file : staged_)
    CARREL_TRY(Directory(SplitLast(file.path).first, file.ownership));
  return {};
}

Result<void> Staging::Publish() {
  if (staged_.empty()) return {};
  for (const Staged& file : staged_) {
    // By name, in a directory that only carrel can enter.
    if (::fchownat(dir_.get(), file.name.c_str(), file.ownership.owner, file.ownership.group,
                   AT_SYMLINK_NOFOLLOW) != 0)
      return SysFault(file.path, "chown");
    if (::fchmodat(dir_.get(), file.name.c_str(), file.ownership.file_mode, 0) != 0)
      return SysFault(file.path, "chmod");
  }
  CARREL_TRY(SyncStaged());
  std::string last = "/";  // no relative path
  for (const Staged& file : staged_) {
    const auto [directory, name] = SplitLast(file.path);
    if (Few() && cached_dir_ && last == cached_path_ && directory != last)
      if (::fsync(cached_dir_.get()) != 0) return SysFault(last, "fsync of the directory");
    CARREL_ASSIGN(const int dir, Directory(directory, file.ownership));
    last = directory;
    if (::renameat(dir_.get(), file.name.c_str(), dir, name.c_str()) != 0)
      return SysFault(file.path, "rename");
  }
  const int synced = Few() ? ::fsync(cached_dir_.get()) : ::syncfs(dir_.get());
  if (synced != 0) return SysFault("outputs", "sync");
  return {};
}

// An fsync for each of ten thousand files takes minutes; but for a few it spares the host a sync of
// everything that other jobs are writing.
bool Staging::Few() const { return staged_.size() <= 64; }

Result<void> Staging::SyncStaged() {
  if (!Few()) {
    if (::syncfs(dir_.get()) != 0) return SysFault("outputs", "syncfs");
    return {};
  }
  for (const Staged& file : staged_) {
    CARREL_ASSIGN(UniqueFd fd, OpenBeneath(dir_.get(), file.name, O_RDONLY | O_NOFOLLOW));
    if (::fsync(fd.get()) != 0) return SysFault(file.path, "fsync");
  }
  return {};
}

}  // namespace carrel
