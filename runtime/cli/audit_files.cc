#include "cli/audit_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "base/fs.h"

namespace carrel {
namespace {

// Goes from header to header (FORMAT.md, "Block"); true when the last block is whole and a seal.
bool EndsInSeal(int fd, uint64_t size) {
  uint64_t at = 0;
  unsigned char header[13];
  while (at < size) {
    if (::pread(fd, header, sizeof header, static_cast<off_t>(at)) != sizeof header) return false;
    uint32_t header_bytes = 0, payload_bytes = 0;
    memcpy(&header_bytes, header + 4, 4);
    memcpy(&payload_bytes, header + 8, 4);
    if (memcmp(header, "BLK1", 4) != 0 || header_bytes < sizeof header) return false;
    at += uint64_t{header_bytes} + payload_bytes;
  }
  return size > 0 && at == size && header[12] == 2;
}

// Names in a directory below the state; none when it does not exist.
Result<std::vector<std::string>> NamesIn(const std::string& path, UniqueFd& directory) {
  auto opened = OpenPath(path, O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error().code == ENOENT) return std::vector<std::string>();
  if (!opened) return std::move(opened).error();
  directory = std::move(*opened);
  return ListDir(directory.get());
}

}  // namespace

Result<std::vector<AuditFile>> ListAuditFiles(const std::string& state) {
  constexpr std::string_view kSuffix = ".carrel-log";
  UniqueFd directory;
  CARREL_ASSIGN(const auto names, NamesIn(state + "/audit", directory));
  std::vector<AuditFile> files;
  for (const std::string& name : names) {
    if (!name.ends_with(kSuffix)) continue;
    auto fd = OpenBeneath(directory.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    struct stat info {};
    if (!fd || ::fstat(fd->get(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    const auto bytes = static_cast<uint64_t>(info.st_size);
    files.push_back({name.substr(0, name.size() - kSuffix.size()), bytes, info.st_mtim.tv_sec,
                     EndsInSeal(fd->get(), bytes)});
  }
  return files;
}

Result<RunNames> ListRuns(const std::string& state) {
  constexpr std::string_view kSuffix = ".lock";
  UniqueFd directory;
  CARREL_ASSIGN(const auto names, NamesIn(state + "/run", directory));
  RunNames runs;
  for (const std::string& name : names) {
    if (!name.ends_with(kSuffix)) continue;
    auto lock = OpenBeneath(directory.get(), name, O_RDWR);
    if (!lock) continue;
    // A shared lock, for a moment: a run that begins tries again when it meets one.
    const bool alive = ::flock(lock->get(), LOCK_SH | LOCK_NB) != 0;
    (alive ? runs.running : runs.stale).push_back(name.substr(0, name.size() - kSuffix.size()));
  }
  return runs;
}

}  // namespace carrel
