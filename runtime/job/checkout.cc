#define OPENSSL_SUPPRESS_DEPRECATED
#include "job/checkout.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "base/digest.h"
#include "base/fs.h"
#include "job/git_mirror.h"
#include "job/utf8.h"
#include "policy/names.h"
#include "policy/repository.h"

namespace carrel {
namespace {

constexpr size_t kMaxLink = 4095;

// One line of `git ls-tree -r -t -l -z`.
struct TreeEntry {
  std::string_view mode;
  std::string_view id;
  uint64_t bytes = 0;
  std::string path;
};

Error BadTree(const std::string& what) {
  return BadInput("/commit", "the commit's tree cannot be checked out: " + what,
                  "Remove it from the repository, and use the new commit");
}

// ".git" in any case: a tool that looks for a repository in the workspace must not find one whose
// configuration the study wrote.
bool IsGitName(std::string_view part) {
  return part.size() == 4 && part[0] == '.' && (part[1] | 0x20) == 'g' && (part[2] | 0x20) == 'i' &&
         (part[3] | 0x20) == 't';
}

Result<void> CheckPath(const std::string& path) {
  if (!IsValidUtf8(path)) return BadTree("a name is not UTF-8: " + MakeVisible(path));
  if (!IsNormalRelativePath(path))
    return BadTree("the name " + MakeVisible(path) +
                   " holds \"..\" or a control character, or is too long");
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    if (IsGitName(std::string_view(path).substr(start, end - start)))
      return BadTree("it holds " + path);
    start = end + 1;
  }
  return {};
}

Result<TreeEntry> ParseEntry(std::string_view line) {
  // "<mode> <type> <id> <size, padded>\t<path>"
  const size_t tab = line.find('\t');
  const size_t space1 = line.find(' ');
  const size_t space2 = space1 == std::string_view::npos ? space1 : line.find(' ', space1 + 1);
  const size_t space3 = space2 == std::string_view::npos ? space2 : line.find(' ', space2 + 1);
  if (tab == std::string_view::npos || space3 == std::string_view::npos || space3 > tab)
    return Fault("git ls-tree", "an entry that carrel does not understand");
  TreeEntry entry;
  entry.mode = line.substr(0, space1);
  entry.id = line.substr(space2 + 1, space3 - space2 - 1);
  std::string_view size = line.substr(space3 + 1, tab - space3 - 1);
  size.remove_prefix(std::min(size.find_first_not_of(' '), size.size()));
  if (size != "-") std::from_chars(size.data(), size.data() + size.size(), entry.bytes);
  entry.path = std::string(line.substr(tab + 1));
  return entry;
}

Result<std::vector<TreeEntry>> ParseTree(std::string_view listing, const CheckoutRequest& request) {
  std::vector<TreeEntry> entries;
  uint64_t bytes = 0;
  while (!listing.empty()) {
    const size_t end = std::min(listing.find('\0'), listing.size());
    CARREL_ASSIGN(TreeEntry entry, ParseEntry(listing.substr(0, end)));
    listing.remove_prefix(std::min(end + 1, listing.size()));
    CARREL_TRY(CheckPath(entry.path));
    bytes += entry.bytes;
    if (entry.bytes > request.max_bytes || bytes > request.max_bytes)
      return BadTree("its files are larger than " + std::to_string(request.max_bytes) + " bytes");
    entries.push_back(std::move(entry));
    if (entries.size() > request.max_files)
      return BadTree("it has more than " + std::to_string(request.max_files) + " entries");
  }
  return entries;
}

// git's object id of a blob, computed while it is written.
class BlobHash {
 public:
  BlobHash(bool sha256, uint64_t bytes) : sha256_(sha256) {
    SHA1_Init(&sha1_);
    Update("blob " + std::to_string(bytes) + std::string(1, '\0'));
  }
  void Update(std::string_view data) {
    if (sha256_)
      sha256_state_.Update(data);
    else
      SHA1_Update(&sha1_, data.data(), data.size());
  }
  std::string HexFinal() {
    if (sha256_) return sha256_state_.HexFinal();
    unsigned char raw[SHA_DIGEST_LENGTH];
    SHA1_Final(raw, &sha1_);
    std::string hex;
    for (unsigned char byte : raw) {
      hex += "0123456789abcdef"[byte >> 4];
      hex += "0123456789abcdef"[byte & 15];
    }
    return hex;
  }

 private:
  bool sha256_;
  SHA_CTX sha1_;
  Sha256 sha256_state_;
};

// Reads the answers of `git cat-file --batch`, each "<id> blob <size>\n<content>\n".
class BlobReader {
 public:
  explicit BlobReader(UniqueFd file) : file_(std::move(file)) {}

  /// Gives the content of the next blob, which must be the entry's, to `sink` in pieces.
  template <typename Sink>
  Result<void> Next(const TreeEntry& entry, Sink sink) {
    const std::string header =
        std::string(entry.id) + " blob " + std::to_string(entry.bytes) + "\n";
    CARREL_ASSIGN(std::string_view got, Take(header.size()));
    if (got != header) return Fault("git cat-file", "another object than " + entry.path);
    BlobHash hash(entry.id.size() == 64, entry.bytes);
    for (uint64_t left = entry.bytes; left > 0;) {
      CARREL_ASSIGN(std::string_view piece, Take(std::min<uint64_t>(left, kPiece)));
      hash.Update(piece);
      CARREL_TRY(sink(piece));
      left -= piece.size();
    }
    CARREL_ASSIGN(got, Take(1));
    if (got != "\n") return Fault("git cat-file", "another length than that of " + entry.path);
    if (hash.HexFinal() != entry.id)
      return Fault(entry.path, "the content is not what its object id says",
                   "The mirror under <state>/repos is damaged; remove it");
    return {};
  }

 private:
  static constexpr size_t kPiece = 64u << 10;

  // Exactly `bytes` (at most kPiece) of the file. The view is good until the next call.
  Result<std::string_view> Take(size_t bytes) {
    while (end_ - at_ < bytes) {
      buffer_.erase(0, at_);
      end_ -= at_;
      at_ = 0;
      buffer_.resize(2 * kPiece);
      const ssize_t n = ::read(file_.get(), buffer_.data() + end_, buffer_.size() - end_);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return SysFault("git cat-file", "read");
      if (n == 0) return Fault("git cat-file", "ended early");
      end_ += static_cast<size_t>(n);
    }
    at_ += bytes;
    return std::string_view(buffer_).substr(at_ - bytes, bytes);
  }

  UniqueFd file_;
  std::string buffer_;
  size_t at_ = 0;
  size_t end_ = 0;
};

// Writes entries beneath the destination, one after the other.
class TreeWriter {
 public:
  TreeWriter(int destination, BlobReader blobs)
      : destination_(destination), blobs_(std::move(blobs)) {}

  Result<void> Write(const TreeEntry& entry, Checkout& checkout) {
    CodeFile file;
    file.path = entry.path;
    file.bytes = entry.bytes;
    if (entry.mode == "040000" || entry.mode == "160000") {
      CARREL_TRY(WriteDirectory(entry));
      file.mode = S_IFDIR | 0755;
      if (entry.mode == "160000") checkout.submodules.push_back(entry.path);
    } else if (entry.mode == "120000") {
      CARREL_TRY(WriteLink(entry));
      file.mode = S_IFLNK | 0777;
      file.object_id = entry.id;
    } else if (entry.mode == "100644" || entry.mode == "100664" || entry.mode == "100755") {
      const mode_t mode = entry.mode == "100755" ? 0755 : 0644;
      CARREL_TRY(WriteFile(entry, mode));
      file.mode = S_IFREG | mode;
      file.object_id = entry.id;
    } else {
      return BadTree(entry.path + " has the mode " + std::string(entry.mode));
    }
    checkout.files.push_back(std::move(file));
    return {};
  }

 private:
  // The entry's directory, opened without following a link, and the name in it. A tree that has one
  // name twice (a link and a directory) fails here.
  Result<std::string> OpenParent(const TreeEntry& entry) {
    const size_t slash = entry.path.rfind('/');
    const std::string parent = slash == std::string::npos ? "." : entry.path.substr(0, slash);
    if (!parent_ || parent != parent_path_) {
      auto opened = OpenBeneath(destination_, parent, O_RDONLY | O_DIRECTORY);
      if (!opened) return Conflict(entry, opened.error());
      parent_ = std::move(*opened);
      parent_path_ = parent;
    }
    return entry.path.substr(slash + 1);  // npos + 1 is 0
  }

  static Error Conflict(const TreeEntry& entry, const Error& error) {
    if (error.code == EEXIST || error.code == ELOOP || error.code == ENOTDIR)
      return BadTree("the name " + entry.path + " is there twice");
    // git names every directory before what is in it; only a "/" inside a name has none.
    if (error.code == ENOENT) return BadTree("the name " + entry.path + " holds \"/\"");
    Error located = error;
    located.where = entry.path;
    return located;
  }

  Result<void> WriteDirectory(const TreeEntry& entry) {
    CARREL_ASSIGN(std::string name, OpenParent(entry));
    if (::mkdirat(parent_.get(), name.c_str(), 0755) != 0)
      return Conflict(entry, SysFault(entry.path, "mkdir"));
    CARREL_ASSIGN(UniqueFd made, OpenBeneath(parent_.get(), name, O_RDONLY | O_DIRECTORY));
    if (::fchmod(made.get(), 0755) != 0) return SysFault(entry.path, "fchmod");
    return {};
  }

  Result<void> WriteLink(const TreeEntry& entry) {
    CARREL_ASSIGN(std::string name, OpenParent(entry));
    if (entry.bytes == 0 || entry.bytes > kMaxLink)
      return BadTree("the link " + entry.path + " has no target, or a too long one");
    std::string target;
    CARREL_TRY(blobs_.Next(entry, [&](std::string_view piece) -> Result<void> {
      target += piece;
      return {};
    }));
    if (target.find('\0') != std::string::npos)
      return BadTree("the target of the link " + entry.path + " holds a NUL byte");
    if (::symlinkat(target.c_str(), parent_.get(), name.c_str()) != 0)
      return Conflict(entry, SysFault(entry.path, "symlink"));
    return {};
  }

  Result<void> WriteFile(const TreeEntry& entry, mode_t mode) {
    CARREL_ASSIGN(std::string name, OpenParent(entry));
    auto file = OpenBeneath(parent_.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (!file) return Conflict(entry, file.error());
    auto written =
        blobs_.Next(entry, [&](std::string_view piece) { return WriteAll(file->get(), piece); });
    if (!written) {
      Error error = std::move(written).error();
      if (error.where.empty()) error.where = entry.path;
      return error;
    }
    if (::fchmod(file->get(), mode) != 0) return SysFault(entry.path, "fchmod");
    return {};
  }

  int destination_;
  BlobReader blobs_;
  UniqueFd parent_;
  std::string parent_path_;
};

// A local repository may be a link, or lie below one: where it really is must be listed too.
Result<std::string> RequireLocalTarget(const std::string& repository,
                                       const std::vector<std::string>& allowed) {
  if (!repository.starts_with('/')) return repository;
  std::error_code error;
  const std::string real = std::filesystem::canonical(repository, error).string();
  if (error) return BadInput("/repo_url", "there is no repository at " + repository);
  std::vector<std::string> real_prefixes;
  for (const std::string& prefix : allowed)
    if (prefix.starts_with('/'))
      if (auto path = std::filesystem::canonical(prefix, error).string(); !error)
        real_prefixes.push_back(path);
  return RequireAllowedRepository(real, real_prefixes);
}

// The commit's tree, after a fetch when the mirror does not have the commit on a branch or tag.
Result<std::string> FindTree(GitMirror& mirror, const CheckoutRequest& request, bool* fetched) {
  for (bool last : {false, true}) {
    CARREL_ASSIGN(std::string tree, mirror.TreeOf(request.commit));
    if (!tree.empty()) {
      CARREL_ASSIGN(bool reachable, mirror.IsReachable(request.commit));
      if (reachable) return tree;
      if (last)
        return Refused(
            "/commit",
            "the commit " + request.commit + " is on no branch or tag of " + request.repo_url,
            "Push it to a branch there");
    } else if (last) {
      return BadInput(
          "/commit",
          "there is no commit " + request.commit + " on a branch or tag of " + request.repo_url,
          "Push it, or give another commit (commits of forks do not count)");
    }
    CARREL_TRY(mirror.Fetch());
    *fetched = true;
  }
  return Fault("git", "unreachable");
}

}  // namespace

Result<Checkout> CheckoutCode(const CheckoutRequest& request) {
  CARREL_ASSIGN(std::string repository,
                RequireAllowedRepository(request.repo_url, request.allowed_repositories));
  if (!IsCommitHash(request.commit))
    return BadInput("/commit", "\"" + MakeVisible(request.commit) + "\" is not a full commit hash",
                    "A branch or tag can move; `git rev-parse` prints its commit");
  CARREL_ASSIGN(repository, RequireLocalTarget(repository, request.allowed_repositories));
  CARREL_ASSIGN(GitMirror mirror,
                GitMirror::Open(request.state_dir, repository, request.commit.size() == 64));
  Checkout checkout;
  checkout.commit = request.commit;
  CARREL_ASSIGN(checkout.tree_id, FindTree(mirror, request, &checkout.fetched));
  CARREL_ASSIGN(std::string listing, mirror.ListTree(checkout.tree_id));
  CARREL_ASSIGN(std::vector<TreeEntry> entries, ParseTree(listing, request));
  std::vector<std::string> ids;
  for (const TreeEntry& entry : entries)
    if (entry.mode != "040000" && entry.mode != "160000") ids.emplace_back(entry.id);
  CARREL_ASSIGN(UniqueFd blobs, mirror.ReadBlobs(ids));
  TreeWriter writer(request.destination, BlobReader(std::move(blobs)));
  checkout.files.reserve(entries.size());
  for (const TreeEntry& entry : entries) CARREL_TRY(writer.Write(entry, checkout));
  return checkout;
}

}  // namespace carrel
