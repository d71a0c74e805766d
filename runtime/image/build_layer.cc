#include "image/build_layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

using ArchiveWriter = std::unique_ptr<archive, int (*)(archive*)>;

// Directories of which only the directory itself is kept.
constexpr std::string_view kEmptied[] = {
    "boot",
    "dev",
    "home",
    "media",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/share/bug",
    "usr/share/doc-base",
    "usr/share/gdb",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/apt",
    "var/lib/dpkg/alternatives",
    "var/lib/dpkg/parts",
    "var/lib/dpkg/triggers",
    "var/lib/dpkg/updates",
    "var/lib/pam",
    "var/lib/systemd",
    "var/lib/ucf",
    "var/log",
    "var/tmp",
    "etc/apt/sources.list.d",
};

constexpr std::string_view kDroppedFiles[] = {
    "etc/.pwd.lock",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/apt/sources.list",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/group-",
    "etc/gshadow",
    "etc/gshadow-",
    "etc/hostname",
    "etc/machine-id",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow",
    "etc/shadow-",
    "etc/subgid",
    "etc/subgid-",
    "etc/subuid",
    "etc/subuid-",
    "var/lib/dpkg/available",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/status-old",
};

bool IsBelow(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

// Counts and hashes what passes, on its way to the file.
struct Sink {
  int fd;
  uint64_t size = 0;
  Sha256 hash;
};

struct Chain {
  archive* compressor;
  Sha256 hash;
};

la_ssize_t WriteToSink(archive* writer, void* data, const void* buffer, size_t size) {
  auto* sink = static_cast<Sink*>(data);
  const std::string_view bytes(static_cast<const char*>(buffer), size);
  if (!WriteAll(sink->fd, bytes)) {
    archive_set_error(writer, errno, "write");
    return -1;
  }
  sink->hash.Update(bytes);
  sink->size += size;
  return static_cast<la_ssize_t>(size);
}

la_ssize_t WriteToCompressor(archive* writer, void* data, const void* buffer, size_t size) {
  auto* chain = static_cast<Chain*>(data);
  chain->hash.Update({static_cast<const char*>(buffer), size});
  if (archive_write_data(chain->compressor, buffer, size) != static_cast<la_ssize_t>(size)) {
    archive_set_error(writer, archive_errno(chain->compressor), "compress");
    return -1;
  }
  return static_cast<la_ssize_t>(size);
}

Error ArchiveFault(archive* writer, const std::string& path) {
  const char* text = archive_error_string(writer);
  return SysFault(path, std::string("layer: ") + (text == nullptr ? "failed" : text),
                  archive_errno(writer));
}

// Walks the tree depth first, names sorted, and writes an entry for each file.
class LayerWriter {
 public:
  LayerWriter(archive* writer, int64_t epoch) : writer_(writer), epoch_(epoch) {}

  Result<void> AddDirectory(int dir, const std::string& prefix) {
    CARREL_ASSIGN(auto names, ListDir(dir));
    for (const std::string& name : names) {
      const std::string path = prefix + name;
      if (!IsLeftOut(path)) CARREL_TRY(AddEntry(dir, name, path));
    }
    return {};
  }

 private:
  Result<void> AddEntry(int dir, const std::string& name, const std::string& path) {
    struct stat status;
    if (::fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0)
      return SysFault(path, "fstatat");
    const mode_t type = status.st_mode & S_IFMT;
    if (type != S_IFDIR && type != S_IFREG && type != S_IFLNK) return {};
    archive_entry_clear(entry_.get());
    archive_entry_set_pathname(entry_.get(), path.c_str());
    archive_entry_set_filetype(entry_.get(), type);
    archive_entry_set_perm(entry_.get(), Permissions(status));
    archive_entry_set_mtime(entry_.get(), epoch_, 0);
    if (type == S_IFLNK) return AddLink(dir, name, path);
    if (type == S_IFREG) return AddFile(dir, name, path, status);
    CARREL_TRY(WriteHeader(path));
    CARREL_ASSIGN(UniqueFd child, OpenBeneath(dir, name, O_RDONLY | O_DIRECTORY));
    return AddDirectory(child.get(), path + "/");
  }

  // Nobody else's may be written, and nothing raises privilege; sticky directories stay as they
  // are.
  static mode_t Permissions(const struct stat& status) {
    if (S_ISLNK(status.st_mode)) return 0777;
    if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX)) return 01777;
    return status.st_mode & 0755;
  }

  Result<void> AddLink(int dir, const std::string& name, const std::string& path) {
    char target[PATH_MAX];
    const ssize_t size = ::readlinkat(dir, name.c_str(), target, sizeof(target));
    if (size < 0 || size == static_cast<ssize_t>(sizeof(target)))
      return SysFault(path, "readlinkat");
    archive_entry_set_symlink(entry_.get(), std::string(target, size).c_str());
    return WriteHeader(path);
  }

  Result<void> AddFile(int dir, const std::string& name, const std::string& path,
                       const struct stat& status) {
    if (status.st_nlink > 1) {
      auto [first, is_new] = links_.try_emplace({status.st_dev, status.st_ino}, path);
      if (!is_new) {
        archive_entry_set_hardlink(entry_.get(), first->second.c_str());
        archive_entry_set_size(entry_.get(), 0);
        return WriteHeader(path);
      }
    }
    archive_entry_set_size(entry_.get(), status.st_size);
    CARREL_TRY(WriteHeader(path));
    CARREL_ASSIGN(UniqueFd file, OpenBeneath(dir, name, O_RDONLY | O_NOFOLLOW));
    return CopyData(file.get(), path, status.st_size);
  }

  Result<void> CopyData(int file, const std::string& path, off_t size) {
    off_t done = 0;
    while (done < size) {
      const ssize_t n = ::pread(file, buffer_.data(), buffer_.size(), done);
      if (n <= 0) return SysFault(path, "read", n < 0 ? errno : EIO);
      if (done == 0) DetachFromSourceTime(path, buffer_.data(), n);
      if (archive_write_data(writer_, buffer_.data(), n) != n) return ArchiveFault(writer_, path);
      done += n;
    }
    return {};
  }

  Result<void> WriteHeader(const std::string& path) {
    if (archive_write_header(writer_, entry_.get()) < ARCHIVE_WARN)
      return ArchiveFault(writer_, path);
    return {};
  }

  archive* writer_;
  int64_t epoch_;
  std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry_{archive_entry_new(),
                                                                  archive_entry_free};
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  std::vector<char> buffer_ = std::vector<char>(1u << 17);
};

// The compressor is an archive too: of the format "raw", which is one nameless stream.
Result<void> OpenCompressor(archive* compressor, Sink* sink) {
  std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry{archive_entry_new(),
                                                                 archive_entry_free};
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  if (archive_write_set_format_raw(compressor) != ARCHIVE_OK ||
      archive_write_add_filter_zstd(compressor) != ARCHIVE_OK ||
      archive_write_set_bytes_in_last_block(compressor, 1) != ARCHIVE_OK ||
      archive_write_open(compressor, sink, nullptr, &WriteToSink, nullptr) != ARCHIVE_OK ||
      archive_write_header(compressor, entry.get()) != ARCHIVE_OK)
    return ArchiveFault(compressor, "zstd");
  return {};
}

// GNU tar's format takes names as bytes; pax would have the process's locale choose an encoding.
Result<void> OpenTar(archive* tar, Chain* chain) {
  if (archive_write_set_format_gnutar(tar) != ARCHIVE_OK ||
      archive_write_open(tar, chain, nullptr, &WriteToCompressor, nullptr) != ARCHIVE_OK)
    return ArchiveFault(tar, "tar");
  return {};
}

}  // namespace

bool IsLeftOut(std::string_view path) {
  for (std::string_view directory : kEmptied)
    if (IsBelow(path, directory)) return true;
  for (std::string_view file : kDroppedFiles)
    if (path == file) return true;
  // Licences stay with the programs; maintainer scripts do not: dpkg does not run in an image.
  if (IsBelow(path, "usr/share/doc"))
    return path.find('/', sizeof("usr/share/doc")) != path.npos && !path.ends_with("/copyright");
  if (IsBelow(path, "var/lib/dpkg/info"))
    return !path.ends_with(".list") && !path.ends_with(".md5sums");
  return false;
}

void DetachFromSourceTime(std::string_view path, char* head, size_t size) {
  // Magic number (4), flags (4), then time and size of the source, or its hash (8). Flag 1: the
  // hash counts; without flag 2 Python does not look at the source at all (PEP 552).
  static constexpr char kTimed[4] = {0, 0, 0, 0};
  static constexpr char kUnchecked[12] = {1};
  if (path.ends_with(".pyc") && size >= 16 && memcmp(head + 4, kTimed, sizeof(kTimed)) == 0)
    memcpy(head + 4, kUnchecked, sizeof(kUnchecked));
}

Result<Layer> WriteLayer(int root, int64_t epoch, int out) {
  Sink sink{out, 0, {}};
  ArchiveWriter compressor(archive_write_new(), &archive_write_free);
  CARREL_TRY(OpenCompressor(compressor.get(), &sink));
  Chain chain{compressor.get(), {}};
  ArchiveWriter tar(archive_write_new(), &archive_write_free);
  CARREL_TRY(OpenTar(tar.get(), &chain));
  CARREL_TRY(LayerWriter(tar.get(), epoch).AddDirectory(root, ""));
  if (archive_write_close(tar.get()) != ARCHIVE_OK) return ArchiveFault(tar.get(), "tar");
  if (archive_write_close(compressor.get()) != ARCHIVE_OK)
    return ArchiveFault(compressor.get(), "zstd");
  return Layer{"sha256:" + chain.hash.HexFinal(), "sha256:" + sink.hash.HexFinal(), sink.size};
}

}  // namespace carrel
