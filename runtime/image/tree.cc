#include "image/tree.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdio>

#include "base/digest.h"
#include "base/fs.h"
#include "image/names.h"

namespace carrel {
namespace {

// As PrintableName, and without the space that separates fields.
std::string Field(std::string_view raw) {
  std::string text;
  for (char c : PrintableName(raw)) text += c == ' ' ? std::string("\\x20") : std::string(1, c);
  return text;
}

std::string Octal(mode_t mode) {
  char text[16];
  snprintf(text, sizeof text, "%04o", static_cast<unsigned>(mode & 07777));
  return text;
}

Result<std::string> ReadLink(int dir, const std::string& name) {
  std::string target(4097, '\0');
  const ssize_t n = ::readlinkat(dir, name.c_str(), target.data(), target.size());
  if (n < 0) return SysFault(PrintableName(name), "readlink");
  target.resize(static_cast<size_t>(n));
  return target;
}

class Lister {
 public:
  Lister(const ContentDigest& digest, const std::function<Result<void>(const std::string&)>& line)
      : digest_(digest), line_(line) {}

  Result<void> List(int dir, const std::string& path) {
    CARREL_ASSIGN(auto names, ListDir(dir));
    for (const std::string& name : names) CARREL_TRY(ListEntry(dir, name, path));
    return {};
  }
  const TreeTotals& totals() const { return totals_; }

 private:
  Result<void> ListEntry(int dir, const std::string& name, const std::string& parent) {
    const std::string path = parent.empty() ? Field(name) : parent + "/" + Field(name);
    struct stat info {};
    if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SysFault(path, "stat");
    ++totals_.entries;
    if (S_ISDIR(info.st_mode)) {
      CARREL_TRY(line_("d " + Octal(info.st_mode) + " " + path));
      CARREL_ASSIGN(UniqueFd child, OpenBeneath(dir, name, O_RDONLY | O_DIRECTORY));
      return List(child.get(), path);
    }
    if (S_ISLNK(info.st_mode)) {
      CARREL_ASSIGN(std::string target, ReadLink(dir, name));
      return line_("l " + Field(target) + " " + path);
    }
    if (!S_ISREG(info.st_mode)) return line_("? " + Octal(info.st_mode) + " " + path);
    totals_.bytes += static_cast<uint64_t>(info.st_size);
    CARREL_ASSIGN(std::string content, digest_(dir, name, info));
    return line_("f " + Octal(info.st_mode) + " " + std::to_string(info.st_size) + " " +
                 std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec) +
                 " " + content + " " + path);
  }

  const ContentDigest& digest_;
  const std::function<Result<void>(const std::string&)>& line_;
  TreeTotals totals_;
};

Result<void> SetBelow(int dir, const std::string& path,
                      const std::map<std::string, FileMeta>& directories) {
  CARREL_ASSIGN(auto names, ListDir(dir));
  for (const std::string& name : names) {
    struct stat info {};
    if (::fstatat(dir, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0)
      return SysFault(PrintableName(name), "stat");
    if (!S_ISDIR(info.st_mode)) continue;
    CARREL_ASSIGN(UniqueFd child, OpenBeneath(dir, name, O_RDONLY | O_DIRECTORY));
    CARREL_TRY(SetBelow(child.get(), path.empty() ? name : path + "/" + name, directories));
  }
  // Children first: a directory that its owner may not write is still open for what is below.
  const auto found = directories.find(path);
  FileMeta meta{0755, 0, 0};
  if (found != directories.end()) meta = found->second;
  const timespec when{meta.mtime, static_cast<long>(meta.mtime_ns)};
  const timespec times[2] = {when, when};
  if (::fchmod(dir, path.empty() ? 0755 : meta.mode) != 0 || ::futimens(dir, times) != 0)
    return SysFault(PrintableName(path), "chmod");
  return {};
}

std::string PathOfLine(const std::string& line) { return line.substr(line.rfind(' ') + 1); }

}  // namespace

Result<void> MakeMountPoints(int tree) {
  for (const char* name : kMountPoints) {
    if (::mkdirat(tree, name, 0755) == 0) continue;
    if (errno != EEXIST) return SysFault(name, "mkdir");
    struct stat info {};
    if (::fstatat(tree, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return SysFault(name, "stat");
    if (!S_ISDIR(info.st_mode))
      return BadInput(name, S_ISLNK(info.st_mode) ? "is a link" : "is not a directory",
                      "A start mounts here: the image must have a directory, or nothing");
  }
  return {};
}

Result<void> SetDirectories(int tree, const std::map<std::string, FileMeta>& directories) {
  return SetBelow(tree, "", directories);
}

Result<TreeTotals> ListTree(int tree, const ContentDigest& digest,
                            const std::function<Result<void>(const std::string&)>& line) {
  Lister lister(digest, line);
  CARREL_TRY(lister.List(tree, ""));
  return lister.totals();
}

Result<std::string> ReadContentDigest(int dir, const std::string& name) {
  CARREL_ASSIGN(UniqueFd fd, OpenBeneath(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  return Sha256HexOfFd(fd.get());
}

Result<std::vector<std::string>> CompareTree(int tree, std::string_view listing,
                                             size_t max_findings) {
  std::map<std::string, std::string> expected;
  while (!listing.empty()) {
    const size_t end = std::min(listing.find('\n'), listing.size());
    std::string line(listing.substr(0, end));
    listing.remove_prefix(std::min(end + 1, listing.size()));
    expected[PathOfLine(line)] = line;
  }
  std::vector<std::string> findings;
  size_t others = 0;
  auto find = [&](const std::string& path, const std::string& what) {
    if (findings.size() < max_findings)
      findings.push_back("rootfs/" + path + ": " + what);
    else
      ++others;
  };
  std::unordered_map<ino_t, std::string> known;
  ContentDigest digest = [&](int dir, const std::string& name,
                             const struct stat& info) -> Result<std::string> {
    auto [place, fresh] = known.try_emplace(info.st_ino);
    if (fresh) {
      auto content = ReadContentDigest(dir, name);
      place->second = content ? *content : "unreadable:" + ErrnoName(content.error().code);
    }
    return place->second;
  };
  auto compare = [&](const std::string& line) -> Result<void> {
    const std::string path = PathOfLine(line);
    const auto found = expected.find(path);
    if (found == expected.end()) {
      find(path, "was added");
    } else {
      if (found->second != line)
        find(path, "is \"" + line.substr(0, line.rfind(' ')) + "\", was \"" +
                       found->second.substr(0, found->second.rfind(' ')) + "\"");
      expected.erase(found);
    }
    return {};
  };
  CARREL_TRY(ListTree(tree, digest, compare));
  for (const auto& [path, line] : expected) find(path, "is missing");
  if (others > 0) findings.push_back("and " + std::to_string(others) + " more");
  return findings;
}

}  // namespace carrel
