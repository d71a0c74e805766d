#include "image/layer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/fs.h"
#include "image/names.h"

namespace carrel {
namespace {

constexpr size_t kMaxDepth = 128;
constexpr size_t kMaxPath = 4000;
constexpr size_t kMaxWeakened = 256;
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr mode_t kKeptBits = 0755;  // write bits for nobody but root; no setuid, setgid, sticky

FileMeta MetaOf(archive_entry* entry) {
  FileMeta meta;
  meta.mode = archive_entry_perm(entry) & kKeptBits;
  if (archive_entry_mtime_is_set(entry)) {
    meta.mtime = archive_entry_mtime(entry);
    const long ns = archive_entry_mtime_nsec(entry);
    meta.mtime_ns = ns >= 0 && ns < 1'000'000'000 ? static_cast<uint32_t>(ns) : 0;
  }
  return meta;
}

bool HasFileCapabilities(archive_entry* entry) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
    if (name != nullptr && std::string_view(name) == "security.capability") return true;
  return false;
}

std::pair<std::string, std::string> SplitLast(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return {"", path};
  return {path.substr(0, slash), path.substr(slash + 1)};
}

// What base/fs says of a path holds its bytes; backslashes are of PrintableName's making.
std::string Escaped(const std::string& text) {
  std::string escaped;
  for (char c : text) escaped += c == '\\' ? std::string(1, c) : PrintableName({&c, 1});
  return escaped;
}

Error InTheWay(const std::string& path) {
  return BadInput(PrintableName(path), "a link or a file where a directory is needed",
                  "Entries are never put through links");
}

std::string Join(const std::string& parent, const std::string& name) {
  return parent.empty() ? name : parent + "/" + name;
}

}  // namespace

Result<std::string> NormalEntryPath(std::string_view raw) {
  const std::string shown = PrintableName(raw.substr(0, 300));
  if (raw.empty()) return BadInput("", "an entry without a name");
  if (raw.front() == '/') return BadInput(shown, "an absolute name");
  if (raw.size() > kMaxPath) return BadInput(shown, "a name longer than 4000 bytes");
  std::string path;
  size_t depth = 0;
  for (size_t start = 0; start < raw.size();) {
    const size_t end = std::min(raw.find('/', start), raw.size());
    const std::string_view part = raw.substr(start, end - start);
    start = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") return BadInput(shown, "\"..\" in a name");
    if (part.size() > 255) return BadInput(shown, "a name with a part longer than 255 bytes");
    if (++depth > kMaxDepth) return BadInput(shown, "a name deeper than 128 directories");
    if (!path.empty()) path += '/';
    path += part;
  }
  return path;
}

Result<std::string> LayerApplier::Apply(int fd, Compression compression, const std::string& where) {
  present_.clear();
  CARREL_ASSIGN(auto stream, TarStream::Open(fd, compression, options_.max_bytes - bytes_, where));
  for (;;) {
    CARREL_ASSIGN(archive_entry * raw, stream->Next());
    if (raw == nullptr) break;
    auto applied = ApplyEntry(*stream, raw);
    if (!applied) {
      Error error = std::move(applied).error();
      if (error.where != where)
        error.where = where + (error.where.empty() ? "" : ": " + Escaped(error.where));
      return error;
    }
  }
  CARREL_ASSIGN(std::string digest, stream->Finish());
  return digest;
}

Result<void> LayerApplier::ApplyEntry(TarStream& stream, archive_entry* raw) {
  if (++entries_ > options_.max_entries)
    return BadInput("", "more than " + std::to_string(options_.max_entries) + " entries",
                    "A bomb, or the limit of entries is too low for it");
  const char* name = archive_entry_pathname(raw);
  CARREL_ASSIGN(std::string path, NormalEntryPath(name == nullptr ? "" : name));
  if (path.empty()) return {};  // the root itself
  Entry entry{raw, path, "", ""};
  std::tie(entry.parent, entry.name) = SplitLast(path);
  auto made = entry.name.starts_with(kWhiteout) ? ApplyWhiteout(entry) : MakeNode(stream, entry);
  if (made) return {};
  Error error = std::move(made).error();
  if (error.where.empty()) error.where = PrintableName(path);
  return error;
}

// Records that this layer has `path`, and the directories above it.
Result<void> LayerApplier::Note(const std::string& path, bool directory) {
  auto [place, fresh] = present_.try_emplace(path, directory);
  if (!fresh && !(place->second && directory))
    return BadInput(PrintableName(path), "the name comes twice in one layer",
                    "Which of the two counts differs between tools: build the image without it");
  if (!fresh) return {};
  const std::string parent = SplitLast(path).first;
  if (parent.empty()) return {};
  if (parent.starts_with(kWhiteout) || parent.find("/.wh.") != std::string::npos)
    return BadInput(PrintableName(path), "a whiteout's name is used as a directory");
  const auto above = present_.find(parent);
  if (above != present_.end() && !above->second) return InTheWay(parent);
  return Note(parent, true);
}

Result<UniqueFd> LayerApplier::OpenParent(const std::string& path) {
  auto opened = OpenBeneath(tree_, path, O_RDONLY | O_DIRECTORY);
  if (!opened && opened.error().code == ENOENT) opened = MakeDirsBeneath(tree_, path, 0755);
  if (opened) return opened;
  const int code = opened.error().code;
  if (code == ELOOP || code == ENOTDIR || code == EXDEV) return InTheWay(path);
  return opened;
}

Result<bool> LayerApplier::CheckPrivilege(const Entry& entry) {
  const bool bits = (archive_entry_perm(entry.raw) & (S_ISUID | S_ISGID)) != 0;
  const bool capable = HasFileCapabilities(entry.raw);
  if (!bits && !capable) return false;
  if (options_.strip_setuid) return true;
  return BadInput("", bits ? "a setuid or setgid program" : "a program with file capabilities",
                  "Build the image without it, or import with --strip-setuid");
}

// Every weakening is in the record, which a start reads: there cannot be many.
Result<void> LayerApplier::Weaken(std::vector<std::string>& list, const Entry& entry) {
  if (list.size() == kMaxWeakened)
    return BadInput("",
                    "more than " + std::to_string(kMaxWeakened) + " setuid programs or devices");
  list.push_back(PrintableName(entry.path));
  return {};
}

Result<void> LayerApplier::MakeNode(TarStream& stream, const Entry& entry) {
  const char* link = archive_entry_hardlink(entry.raw);
  const mode_t type = link != nullptr ? S_IFREG : archive_entry_filetype(entry.raw);
  CARREL_TRY(Note(entry.path, type == S_IFDIR));
  CARREL_ASSIGN(UniqueFd parent, OpenParent(entry.parent));
  if (link != nullptr) return MakeHardLink(parent.get(), entry, link);
  switch (type) {
    case S_IFDIR:
      return MakeDirectory(parent.get(), entry);
    case S_IFREG:
      return MakeFile(stream, parent.get(), entry);
    case S_IFLNK: {
      const char* target = archive_entry_symlink(entry.raw);
      return MakeSymlink(parent.get(), entry, target == nullptr ? "" : target);
    }
    case S_IFCHR:
    case S_IFBLK:
    case S_IFIFO:
    case S_IFSOCK:
      return DropNode(parent.get(), entry);
    default:
      return BadInput("", "an entry of an unknown type");
  }
}

// Removes what lower layers have at the entry's place, unless both are directories.
Result<void> LayerApplier::ClearPlace(int parent, const Entry& entry, bool for_directory) {
  struct stat info {};
  if (::fstatat(parent, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return {};
    return SysFault("", "stat");
  }
  if (for_directory && S_ISDIR(info.st_mode)) return {};
  ForgetDirectories(entry.path);
  return RemoveTree(parent, entry.name);
}

Result<void> LayerApplier::MakeDirectory(int parent, const Entry& entry) {
  CARREL_TRY(ClearPlace(parent, entry, true));
  // 0755 while layers are applied; its own mode comes when all are there.
  if (::mkdirat(parent, entry.name.c_str(), 0755) != 0 && errno != EEXIST)
    return SysFault("", "mkdir");
  // A directory's setgid bit is no privilege: it only passes on a group, which is root's here.
  directories_[entry.path] = MetaOf(entry.raw);
  return {};
}

Result<void> LayerApplier::MakeFile(TarStream& stream, int parent, const Entry& entry) {
  CARREL_ASSIGN(const bool strip, CheckPrivilege(entry));
  const int64_t size = archive_entry_size(entry.raw);
  if (!archive_entry_size_is_set(entry.raw) || size < 0) return BadInput("", "a file without size");
  // Counted by the size it claims: a sparse file unpacks to more than its tar holds.
  if (static_cast<uint64_t>(size) > options_.max_bytes - bytes_)
    return BadInput(
        "", "the image unpacks to more than " + std::to_string(options_.max_bytes) + " bytes",
        "A decompression bomb, or the limit of bytes is too low for it");
  bytes_ += static_cast<uint64_t>(size);
  CARREL_TRY(ClearPlace(parent, entry, false));
  CARREL_TRY(
      objects_.Add(stream, static_cast<uint64_t>(size), MetaOf(entry.raw), parent, entry.name));
  return strip ? Weaken(weakened_.stripped_setuid, entry) : Result<void>();
}

Result<void> LayerApplier::MakeSymlink(int parent, const Entry& entry, const std::string& target) {
  if (target.empty() || target.size() > 4095) return BadInput("", "a link to nothing or too far");
  CARREL_TRY(ClearPlace(parent, entry, false));
  if (::symlinkat(target.c_str(), parent, entry.name.c_str()) != 0) return SysFault("", "symlink");
  const FileMeta meta = MetaOf(entry.raw);
  const timespec when{meta.mtime, static_cast<long>(meta.mtime_ns)};
  const timespec times[2] = {when, when};
  if (::utimensat(parent, entry.name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0)
    return SysFault("", "utimensat");
  return {};
}

Result<void> LayerApplier::MakeHardLink(int parent, const Entry& entry, const char* target) {
  auto normal = NormalEntryPath(target);
  if (!normal || normal->empty())
    return BadInput("", "a hard link to \"" + PrintableName(target) + "\"",
                    "It must name a file of the image, relative to its root, without \"..\"");
  if (*normal == entry.path) return BadInput("", "a hard link to itself");
  const std::string missing = "a hard link to \"" + PrintableName(target) + "\", which is no file";
  const auto [directory, name] = SplitLast(*normal);
  auto opened = OpenBeneath(tree_, directory, O_RDONLY | O_DIRECTORY);
  struct stat info {};
  if (!opened || ::fstatat(opened->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
    return BadInput("", missing, "Links and files that come later are not followed");
  if (S_ISLNK(info.st_mode)) {
    std::string text(4096, '\0');
    const ssize_t n = ::readlinkat(opened->get(), name.c_str(), text.data(), text.size());
    if (n <= 0) return SysFault("", "readlink");
    return MakeSymlink(parent, entry, text.substr(0, static_cast<size_t>(n)));
  }
  if (!S_ISREG(info.st_mode)) return BadInput("", missing);
  CARREL_TRY(CheckPrivilege(entry));
  // Clearing a directory here could take the target with it; linkat then says so.
  CARREL_TRY(ClearPlace(parent, entry, false));
  auto named = objects_.AddName(opened->get(), name, parent, entry.name);
  if (!named && named.error().code == ENOENT) return BadInput("", missing);
  return named;
}

Result<void> LayerApplier::DropNode(int parent, const Entry& entry) {
  if (!options_.drop_device_nodes)
    return BadInput("", "a device node, FIFO or socket",
                    "Build the image without it, or import with --drop-device-nodes");
  CARREL_TRY(Weaken(weakened_.dropped_nodes, entry));
  return ClearPlace(parent, entry, false);
}

Result<void> LayerApplier::ApplyWhiteout(const Entry& entry) {
  if (archive_entry_filetype(entry.raw) != S_IFREG ||
      archive_entry_hardlink(entry.raw) != nullptr || archive_entry_size(entry.raw) != 0)
    return BadInput("", "a whiteout that is not an empty file");
  const std::string hidden = entry.name.substr(kWhiteout.size());
  const bool opaque = entry.name == kOpaque;
  if (!opaque &&
      (hidden.empty() || hidden == "." || hidden == ".." || hidden.starts_with(kWhiteout)))
    return BadInput("", "a whiteout of an impossible name");
  // umoci writes whiteouts below a file or link that replaces a directory: nothing is left there
  // to hide, and the link is not looked through.
  if (IsBelowOwnFile(entry.parent)) return {};
  auto parent = OpenBeneath(tree_, entry.parent, O_RDONLY | O_DIRECTORY);
  if (!parent && parent.error().code == ENOENT) return {};
  if (!parent) return InTheWay(entry.parent);
  if (opaque) return HideLowerEntries(entry.parent);
  return HideLower(parent->get(), entry.parent, hidden);
}

// Whether `path`, or what it passes through, is something of this layer that is no directory.
bool LayerApplier::IsBelowOwnFile(std::string path) const {
  for (; !path.empty(); path = SplitLast(path).first) {
    const auto own = present_.find(path);
    if (own != present_.end() && !own->second) return true;
  }
  return false;
}

// Hides what lower layers have at `name`; what this layer has there, or below, stays.
Result<void> LayerApplier::HideLower(int parent, const std::string& parent_path,
                                     const std::string& name) {
  const std::string path = Join(parent_path, name);
  const auto own = present_.find(path);
  if (own == present_.end()) {
    ForgetDirectories(path);
    return RemoveTree(parent, name);
  }
  if (own->second) return HideLowerEntries(path);
  return {};
}

Result<void> LayerApplier::HideLowerEntries(const std::string& path) {
  CARREL_ASSIGN(UniqueFd dir, OpenBeneath(tree_, path, O_RDONLY | O_DIRECTORY));
  CARREL_ASSIGN(auto names, ListDir(dir.get()));
  for (const std::string& name : names) CARREL_TRY(HideLower(dir.get(), path, name));
  return {};
}

void LayerApplier::ForgetDirectories(const std::string& path) {
  directories_.erase(path);
  // '0' is the character after '/': the range holds exactly what is below.
  directories_.erase(directories_.lower_bound(path + "/"), directories_.lower_bound(path + "0"));
}

}  // namespace carrel
