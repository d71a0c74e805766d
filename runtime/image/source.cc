#include "image/source.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <vector>

#include "base/digest.h"
#include "base/fs.h"
#include "image/layer.h"
#include "image/names.h"
#include "image/oci.h"
#include "image/tar_stream.h"

namespace carrel {
namespace {

constexpr size_t kMaxMembers = 10'000;  // an archive of 512 layers has 2,000

class DirectorySource : public ImageSource {
 public:
  DirectorySource(UniqueFd dir, int work, std::string where)
      : ImageSource(work, std::move(where)), dir_(std::move(dir)) {}

  bool Has(const std::string& name) override {
    return OpenBeneath(dir_.get(), name, O_PATH).has_value();
  }

  Result<SourceFile> Fetch(const std::string& name, uint64_t max_bytes) override {
    // Not through links, and not waiting for the writer of a FIFO.
    auto opened = OpenBeneath(dir_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (!opened) return Problem(name, "cannot be opened: " + ErrnoName(opened.error().code));
    struct stat info {};
    if (::fstat(opened->get(), &info) != 0) return SysFault(name, "stat");
    if (!S_ISREG(info.st_mode)) return Problem(name, "is no regular file");
    return Copy(opened->get(), name, max_bytes);
  }

 private:
  Result<SourceFile> Copy(int from, const std::string& name, uint64_t max_bytes) {
    SourceFile file{"copy" + std::to_string(next_++), 0, ""};
    CARREL_ASSIGN(UniqueFd to,
                  OpenBeneath(work_, file.work_name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    Sha256 hash;
    std::vector<char> buffer(1u << 18);
    for (;;) {
      const ssize_t n = ::read(from, buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return SysFault(where_ + ": " + name, "read");
      if (n == 0) break;
      const std::string_view data(buffer.data(), static_cast<size_t>(n));
      file.size += data.size();
      if (file.size > max_bytes)
        return Problem(name,
                       "is longer than the " + std::to_string(max_bytes) + " bytes it may be");
      hash.Update(data);
      CARREL_TRY(WriteAll(to.get(), data));
    }
    file.sha256 = hash.HexFinal();
    return file;
  }

  UniqueFd dir_;
  size_t next_ = 0;
};

class TarSource : public ImageSource {
 public:
  TarSource(int work, std::string where) : ImageSource(work, std::move(where)) {}

  Result<void> Unpack(int fd, const ImportOptions& options) {
    CARREL_ASSIGN(Compression compression, DetectCompression(fd));
    CARREL_ASSIGN(auto stream, TarStream::Open(fd, compression, options.max_bytes, where_));
    for (size_t count = 0;; ++count) {
      CARREL_ASSIGN(archive_entry * entry, stream->Next());
      if (entry == nullptr) return {};
      if (count == kMaxMembers)
        return BadInput(where_, "more than 10000 members: no image archive");
      const char* raw = archive_entry_pathname(entry);
      auto name = NormalEntryPath(raw == nullptr ? "" : raw);
      if (!name) return Problem(name.error().where, name.error().what);
      CARREL_TRY(Take(*stream, entry, *name));
    }
  }

  bool Has(const std::string& name) override { return files_.contains(Target(name)); }

  Result<SourceFile> Fetch(const std::string& name, uint64_t max_bytes) override {
    const auto found = files_.find(Target(name));
    if (found == files_.end()) return Problem(name, "is missing");
    if (found->second.size > max_bytes)
      return Problem(name, "is longer than the " + std::to_string(max_bytes) + " bytes it may be");
    return found->second;
  }

 private:
  Result<void> Take(TarStream& stream, archive_entry* entry, const std::string& name) {
    const mode_t type = archive_entry_filetype(entry);
    if (archive_entry_hardlink(entry) == nullptr && type == S_IFDIR) return {};
    if (files_.contains(name) || links_.contains(name))
      return Problem(name, "comes twice in the archive");
    if (archive_entry_hardlink(entry) == nullptr && type == S_IFLNK) {
      // Old docker-archives name a layer that several images share by a link.
      const char* target = archive_entry_symlink(entry);
      links_[name] = Resolve(name, target == nullptr ? "" : target);
      return {};
    }
    if (archive_entry_hardlink(entry) != nullptr || type != S_IFREG)
      return Problem(name, "is no regular file");
    CARREL_ASSIGN(files_[name], Write(stream, "member" + std::to_string(files_.size())));
    return {};
  }

  // Where a link of the archive leads, by its text alone; "" when out of the archive.
  static std::string Resolve(const std::string& link, std::string target) {
    std::string base = link.substr(0, link.rfind('/') == std::string::npos ? 0 : link.rfind('/'));
    while (target.starts_with("../")) {
      if (base.empty()) return "";
      base = base.substr(0, base.rfind('/') == std::string::npos ? 0 : base.rfind('/'));
      target.erase(0, 3);
    }
    auto normal = NormalEntryPath(target);
    if (!normal) return "";
    return base.empty() ? *normal : base + "/" + *normal;
  }

  std::string Target(const std::string& name) const {
    const auto found = links_.find(name);
    return found == links_.end() ? name : found->second;
  }

  Result<SourceFile> Write(TarStream& stream, const std::string& work_name) {
    SourceFile file{work_name, 0, ""};
    CARREL_ASSIGN(UniqueFd fd, OpenBeneath(work_, work_name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    Sha256 hash;
    for (;;) {
      CARREL_ASSIGN(TarStream::Block block, stream.ReadBlock());
      if (block.end) break;
      if (block.offset != file.size) return BadInput(where_, "a sparse member: no image archive");
      hash.Update(block.data);
      CARREL_TRY(WriteAll(fd.get(), block.data));
      file.size += block.data.size();
    }
    file.sha256 = hash.HexFinal();
    return file;
  }

  std::map<std::string, SourceFile> files_;
  std::map<std::string, std::string> links_;
};

}  // namespace

Error ImageSource::Problem(const std::string& name, const std::string& what,
                           const std::string& hint) const {
  return BadInput(where_ + (name.empty() ? "" : ": " + PrintableName(name)), what, hint);
}

Result<std::string> ImageSource::ReadDocument(const std::string& name) {
  CARREL_ASSIGN(SourceFile file, Fetch(name, kMaxDocument));
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(work_, file.work_name, O_RDONLY));
  return ReadFd(fd.get(), kMaxDocument);
}

Result<std::unique_ptr<ImageSource>> ImageSource::Open(const std::string& path, int work,
                                                       const ImportOptions& options) {
  const std::string where = PrintableName(path);
  auto opened = OpenPath(path, O_RDONLY | O_NONBLOCK);
  if (!opened)
    return BadInput(where, "cannot be opened: " + ErrnoName(opened.error().code),
                    "Give an OCI layout directory, or a tar of one, or a docker-archive");
  struct stat info {};
  if (::fstat(opened->get(), &info) != 0) return SysFault(where, "stat");
  if (S_ISDIR(info.st_mode))
    return std::unique_ptr<ImageSource>(new DirectorySource(std::move(*opened), work, where));
  if (!S_ISREG(info.st_mode)) return BadInput(where, "is neither a directory nor a regular file");
  auto source = std::make_unique<TarSource>(work, where);
  CARREL_TRY(source->Unpack(opened->get(), options));
  return std::unique_ptr<ImageSource>(std::move(source));
}

}  // namespace carrel
