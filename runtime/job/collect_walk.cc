#include "job/collect_walk.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <memory>

#include "base/fs.h"
#include "job/patterns.h"
#include "job/utf8.h"

namespace carrel {
namespace {

constexpr const char* kNamespaces[] = {"trusted.overlay.", "user.overlay."};

// The value of an overlayfs attribute; "" when there is none. A mount in a user namespace keeps
// them under "user.".
std::string OverlayAttribute(int fd, const std::string& name) {
  for (const char* space : kNamespaces) {
    char value[256];
    const ssize_t n = ::fgetxattr(fd, (space + name).c_str(), value, sizeof value);
    if (n > 0) return {value, static_cast<size_t>(n)};
    if (n == 0 || errno == ERANGE) return "set";
  }
  return "";
}

Result<bool> SameContent(int one, int other, const std::function<Result<void>()>& check) {
  std::vector<char> a(1u << 16), b(1u << 16);
  for (off_t at = 0;;) {
    if (check) CARREL_TRY(check());
    const ssize_t n = ::pread(one, a.data(), a.size(), at);
    const ssize_t m = ::pread(other, b.data(), b.size(), at);
    if (n < 0 || n != m || !std::equal(a.begin(), a.begin() + n, b.begin())) return false;
    if (n == 0) return true;
    at += n;
  }
}

const char* KindName(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFLNK:
      return "a symbolic link";
    case S_IFIFO:
      return "a FIFO";
    case S_IFSOCK:
      return "a socket";
    case S_IFCHR:
    case S_IFBLK:
      return "a device";
    default:
      return "not a regular file";
  }
}

class Walk {
 public:
  explicit Walk(const CollectRequest& request)
      : request_(request),
        unmatched_(request.limits.max_reported),
        tampered_(request.limits.max_reported),
        skipped_(request.limits.max_reported) {}

  Result<ScratchFindings> Run() {
    CARREL_TRY(Enter(request_.scratch_dir, ".", ""));
    while (!open_.empty()) CARREL_TRY(Step());
    CARREL_TRY(DropLinkedElsewhere());
    std::sort(findings_.matched.begin(), findings_.matched.end(),
              [](const MatchedFile& a, const MatchedFile& b) { return a.path < b.path; });
    findings_.unmatched_outputs = unmatched_.Take();
    findings_.tampered = tampered_.Take();
    findings_.skipped = skipped_.Take();
    return std::move(findings_);
  }

 private:
  struct OpenDirectory {
    std::unique_ptr<DIR, int (*)(DIR*)> stream;
    std::string path;  ///< with '/' at the end, or ""
  };

  // One open directory a level: the depth is bounded, so are descriptors and memory.
  Result<void> Enter(int parent, const std::string& name, const std::string& path) {
    CARREL_ASSIGN(UniqueFd fd, OpenScratch(parent, name, O_RDONLY | O_DIRECTORY));
    const std::string place = path.empty() ? "/workspace" : MakeVisible(path);
    if (OverlayAttribute(fd.get(), "opaque") == "y" && HasOriginalsBelow(path))
      tampered_.Add(place + ": the directory was replaced");
    if (!OverlayAttribute(fd.get(), "redirect").empty())
      tampered_.Add(place + ": the directory was moved");
    DIR* stream = ::fdopendir(fd.get());
    if (stream == nullptr) return SysFault(place, "fdopendir");
    (void)fd.release();
    open_.push_back({{stream, &::closedir}, path.empty() ? "" : path + "/"});
    return {};
  }

  Result<void> Step() {
    if (request_.check) CARREL_TRY(request_.check());
    OpenDirectory& here = open_.back();
    errno = 0;
    const dirent* entry = ::readdir(here.stream.get());
    if (entry == nullptr) {
      if (errno != 0) return SysFault(MakeVisible(here.path), "readdir");
      open_.pop_back();
      return {};
    }
    const std::string name = entry->d_name;
    if (name == "." || name == "..") return {};
    if (++entries_ > request_.limits.max_entries)
      return Refused("outputs",
                     "the action made more than " + std::to_string(request_.limits.max_entries) +
                         " files and directories in its workspace",
                     "Write temporary files to /tmp, or fewer of them");
    const int dir = ::dirfd(here.stream.get());
    struct stat info {};
    if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SysFault(MakeVisible(here.path + name), "stat");
    return See(dir, name, here.path + name, info);
  }

  Result<void> See(int dir, const std::string& name, const std::string& path,
                   const struct stat& info) {
    const bool original = request_.originals.contains(path);
    if (S_ISDIR(info.st_mode)) {
      if (original) tampered_.Add(MakeVisible(path) + ": replaced by a directory");
      if (open_.size() < request_.limits.max_depth) return Enter(dir, name, path);
      skipped_.Add(Shortened(path) + ": nested too deep");
      if (HasOriginalsBelow(path)) tampered_.Add(Shortened(path) + ": nested too deep to compare");
      return {};
    }
    if (request_.mount_points.contains(path)) return {};
    const bool whiteout = S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
    if (HasOriginalsBelow(path))
      tampered_.Add(MakeVisible(path) +
                    (whiteout ? ": the directory was removed" : ": the directory was replaced"));
    if (whiteout) {
      if (original) tampered_.Add(MakeVisible(path) + ": removed");
      return {};
    }
    if (original) return SeeOriginal(dir, name, path, info);
    if (S_ISREG(info.st_mode)) return SeeFile(path, info);
    skipped_.Add(MakeVisible(path) + ": " + KindName(info.st_mode) + ", which is not collected");
    return {};
  }

  // A file in the place of code or an input: a plain copy (its mode or times were changed) is
  // harmless and no output either.
  Result<void> SeeOriginal(int dir, const std::string& name, const std::string& path,
                           const struct stat& info) {
    if (S_ISREG(info.st_mode) && request_.open_original) {
      auto mine = OpenScratch(dir, name, O_RDONLY);
      auto theirs = request_.open_original(path);
      if (mine && theirs && OverlayAttribute(mine->get(), "metacopy").empty()) {
        CARREL_ASSIGN(const bool same, SameContent(mine->get(), theirs->get(), request_.check));
        if (same) return {};
      }
    }
    tampered_.Add(MakeVisible(path) +
                  (S_ISREG(info.st_mode) ? std::string(": its content was changed")
                                         : std::string(": replaced by ") + KindName(info.st_mode)));
    return {};
  }

  Result<void> SeeFile(const std::string& path, const struct stat& info) {
    std::optional<Level> level;
    for (const auto& [pattern, its_level] : request_.output_spec) {
      if (!MatchesPattern(pattern, path)) continue;
      if (!level || its_level == Level::kHighlySensitive) level = its_level;
      if (auto why = NotCollectable(path, info)) {
        skipped_.Add(MakeVisible(path) + ": " + *why);
        return {};
      }
      patterns_[pattern].push_back(findings_.matched.size());
    }
    if (info.st_nlink > 1) ++links_[info.st_ino].seen, links_[info.st_ino].count = info.st_nlink;
    if (!level) {
      unmatched_.Add(MakeVisible(path));
      return {};
    }
    if (findings_.matched.size() >= request_.limits.max_outputs)
      return Refused("outputs", "more than " + std::to_string(request_.limits.max_outputs) +
                                    " files match the action's output patterns");
    findings_.matched.push_back({path, *level, info.st_ino});
    return {};
  }

  std::optional<std::string> NotCollectable(const std::string& path, const struct stat& info) {
    if (MakeVisible(path) != path || !IsNormalRelativePath(path))
      return "its name has characters that are not plain text";
    std::string first = path.substr(0, path.find('/'));
    for (char& c : first)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    if (first == "metadata" || first.starts_with(".carrel-")) return "the directory is carrel's";
    if (static_cast<uint64_t>(info.st_size) > request_.limits.max_file_bytes)
      return "it is larger than " + std::to_string(request_.limits.max_file_bytes) + " bytes";
    return std::nullopt;
  }

  // Hard links: a second name inside the scratch is a copy like any other; a file that also has a
  // name elsewhere is somebody else's (another job's, the host's), linked in to be carried out.
  Result<void> DropLinkedElsewhere() {
    std::vector<MatchedFile> kept;
    std::vector<bool> dropped(findings_.matched.size());
    for (size_t i = 0; i < findings_.matched.size(); ++i) {
      const auto found = links_.find(findings_.matched[i].inode);
      dropped[i] = found != links_.end() && found->second.seen < found->second.count;
      if (dropped[i])
        skipped_.Add(findings_.matched[i].path +
                     ": a hard link to a file outside the action's workspace");
      else
        kept.push_back(findings_.matched[i]);
    }
    for (const auto& [pattern, files] : patterns_)
      if (std::any_of(files.begin(), files.end(), [&](size_t i) { return !dropped[i]; }))
        findings_.matched_patterns.insert(pattern);
    findings_.matched = std::move(kept);
    return {};
  }

  bool HasOriginalsBelow(const std::string& path) const {
    if (path.empty()) return !request_.originals.empty();
    const auto found = request_.originals.lower_bound(path + "/");
    return found != request_.originals.end() && found->starts_with(path + "/");
  }

  static std::string Shortened(const std::string& path) {
    return path.size() <= 200 ? MakeVisible(path) : MakeVisible(path.substr(0, 200)) + "...";
  }

  struct Links {
    nlink_t seen = 0;
    nlink_t count = 0;
  };
  const CollectRequest& request_;
  std::vector<OpenDirectory> open_;
  uint64_t entries_ = 0;
  std::map<ino_t, Links> links_;
  std::map<std::string, std::vector<size_t>> patterns_;  ///< indices into findings_.matched
  ScratchFindings findings_;
  BoundedList unmatched_, tampered_, skipped_;
};

}  // namespace

Result<UniqueFd> OpenScratch(int dir, const std::string& path, int flags) {
  open_how how{};
  how.flags = static_cast<uint64_t>(flags) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
  for (;;) {
    const long fd = ::syscall(SYS_openat2, dir, path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EINTR && errno != EAGAIN) return SysFault(MakeVisible(path), "open");
  }
}

void BoundedList::Add(const std::string& item) {
  if (items_.size() < limit_)
    items_.push_back(item);
  else
    ++more_;
}

std::vector<std::string> BoundedList::Take() {
  std::sort(items_.begin(), items_.end());
  if (more_ > 0) items_.push_back("and " + std::to_string(more_) + " more");
  return std::move(items_);
}

Result<ScratchFindings> WalkScratch(const CollectRequest& request) { return Walk(request).Run(); }

}  // namespace carrel
