#include "image/objects.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/fs.h"

namespace carrel {
namespace {

constexpr char kTemporary[] = "object";

// Feeds the digest the zero bytes of a hole.
void HashZeros(Sha256& hash, uint64_t count) {
  static const std::string zeros(1u << 16, '\0');
  while (count > 0) {
    const size_t n = std::min<uint64_t>(count, zeros.size());
    hash.Update(std::string_view(zeros).substr(0, n));
    count -= n;
  }
}

Result<void> PwriteAll(int fd, std::string_view data, uint64_t offset) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return SysFault("", "write");
    data.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return {};
}

}  // namespace

Result<std::string> ObjectWriter::WriteContent(int fd, TarStream& stream, uint64_t size) {
  Sha256 hash;
  uint64_t position = 0;
  for (;;) {
    CARREL_ASSIGN(TarStream::Block block, stream.ReadBlock());
    if (block.end) break;
    if (block.offset < position || block.offset > size || block.data.size() > size - block.offset)
      return BadInput("", "its content does not fit its size");
    HashZeros(hash, block.offset - position);
    hash.Update(block.data);
    CARREL_TRY(PwriteAll(fd, block.data, block.offset));
    position = block.offset + block.data.size();
  }
  HashZeros(hash, size - position);
  if (::ftruncate(fd, static_cast<off_t>(size)) != 0) return SysFault("", "ftruncate");
  return hash.HexFinal();
}

Result<void> ObjectWriter::Finish(int fd, const FileMeta& meta) {
  const timespec when{meta.mtime, static_cast<long>(meta.mtime_ns)};
  const timespec times[2] = {when, when};
  if (::fchmod(fd, meta.mode) != 0) return SysFault("", "fchmod");
  if (::futimens(fd, times) != 0) return SysFault("", "futimens");
  return {};
}

// An object that is there already is what its name says, or is replaced when no tree has it.
Result<void> ObjectWriter::CheckStored(const std::string& object, const std::string& content,
                                       const FileMeta& meta) {
  struct stat info {};
  auto fd = OpenBeneath(objects_, object, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (fd && ::fstat(fd->get(), &info) != 0) return SysFault("objects/" + object, "stat");
  if (!fd && ::fstatat(objects_, object.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? Result<void>() : SysFault("objects/" + object, "stat");
  if (fd && S_ISREG(info.st_mode) && (info.st_mode & 07777) == meta.mode) {
    if (contents_.contains(info.st_ino)) return {};  // this import has read or written it
    auto stored = Sha256HexOfFd(fd->get());
    if (stored && *stored == content) return {};
  }
  if (info.st_nlink > 1 || S_ISDIR(info.st_mode))
    return Fault("objects/" + object, "a stored object is damaged",
                 "Run `carrel image verify --all`, remove the images it names, import them again");
  if (::renameat(work_, kTemporary, objects_, object.c_str()) != 0)
    return SysFault("objects/" + object, "rename");
  return {};
}

Result<void> ObjectWriter::Publish(const std::string& key, const std::string& content,
                                   const FileMeta& meta, int parent, const std::string& name) {
  const std::string fan = key.substr(0, 2);
  if (::mkdirat(objects_, fan.c_str(), 0755) != 0 && errno != EEXIST)
    return SysFault("objects/" + fan, "mkdir");
  const std::string object = fan + "/" + key;
  for (;;) {
    if (::renameat2(work_, kTemporary, objects_, object.c_str(), RENAME_NOREPLACE) == 0)
      made_.push_back(object);
    else if (errno == EEXIST)
      CARREL_TRY(CheckStored(object, content, meta));
    else
      return SysFault("objects/" + object, "rename");
    if (::linkat(objects_, object.c_str(), parent, name.c_str(), 0) == 0) {
      if (::unlinkat(work_, kTemporary, 0) != 0 && errno != ENOENT)
        return SysFault(kTemporary, "unlink");
      return {};
    }
    if (errno == EMLINK) break;
    // ENOENT: the import that made it has just removed it, as unused.
    if (errno != ENOENT) return SysFault("", "link to objects/" + object);
  }
  if (::renameat(work_, kTemporary, parent, name.c_str()) != 0) return SysFault("", "rename");
  return {};
}

Result<void> ObjectWriter::RemoveUnused() {
  for (const std::string& object : made_) {
    struct stat info {};
    if (::fstatat(objects_, object.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        info.st_nlink == 1 && ::unlinkat(objects_, object.c_str(), 0) != 0 && errno != ENOENT)
      return SysFault("objects/" + object, "unlink");
  }
  return {};
}

Result<void> ObjectWriter::Add(TarStream& stream, uint64_t size, const FileMeta& meta, int parent,
                               const std::string& name) {
  CARREL_ASSIGN(UniqueFd fd,
                OpenBeneath(work_, kTemporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  CARREL_ASSIGN(std::string content, WriteContent(fd.get(), stream, size));
  CARREL_TRY(Finish(fd.get(), meta));
  const std::string key =
      Sha256Hex(content + " " + std::to_string(meta.mode) + " " + std::to_string(meta.mtime) + "." +
                std::to_string(meta.mtime_ns));
  CARREL_TRY(Publish(key, content, meta, parent, name));
  struct stat info {};
  if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return SysFault("", "stat");
  contents_[info.st_ino] = std::move(content);
  return {};
}

Result<void> ObjectWriter::AddName(int from_dir, const std::string& from, int parent,
                                   const std::string& name) {
  if (::linkat(from_dir, from.c_str(), parent, name.c_str(), 0) == 0) return {};
  if (errno != EMLINK) return SysFault("", "link");
  CARREL_ASSIGN(UniqueFd source, OpenBeneath(from_dir, from, O_RDONLY | O_NOFOLLOW));
  CARREL_ASSIGN(UniqueFd copy,
                OpenBeneath(work_, kTemporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600));
  struct stat info {};
  if (::fstat(source.get(), &info) != 0) return SysFault("", "stat");
  for (off_t left = info.st_size; left > 0;) {
    const ssize_t n = ::sendfile(copy.get(), source.get(), nullptr, static_cast<size_t>(left));
    if (n <= 0) return SysFault("", "copy", n == 0 ? EIO : errno);
    left -= n;
  }
  CARREL_TRY(Finish(copy.get(), {info.st_mode & 0777, info.st_mtim.tv_sec,
                                 static_cast<uint32_t>(info.st_mtim.tv_nsec)}));
  if (::renameat(work_, kTemporary, parent, name.c_str()) != 0) return SysFault("", "rename");
  return {};
}

Result<void> RemoveUnusedObjects(int objects) {
  CARREL_ASSIGN(auto fans, ListDir(objects));
  for (const std::string& fan : fans) {
    CARREL_ASSIGN(UniqueFd dir, OpenBeneath(objects, fan, O_RDONLY | O_DIRECTORY));
    CARREL_ASSIGN(auto names, ListDir(dir.get()));
    for (const std::string& name : names) {
      struct stat info {};
      if (::fstatat(dir.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
        return SysFault(name, "stat");
      if (info.st_nlink == 1 && ::unlinkat(dir.get(), name.c_str(), 0) != 0)
        return SysFault(name, "unlink");
    }
    if (::unlinkat(objects, fan.c_str(), AT_REMOVEDIR) != 0 && errno != ENOTEMPTY &&
        errno != EEXIST)
      return SysFault("objects/" + fan, "rmdir");
  }
  return {};
}

}  // namespace carrel
