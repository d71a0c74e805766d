#include "audit/public_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>

#include "audit/host_key.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

constexpr const char* kLogName = "log.jsonl";
constexpr const char* kHeadName = "tree.json";
constexpr size_t kMaxLog = size_t{4} << 30;

bool AllOf(std::string_view text, std::string_view more, bool upper) {
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (upper && c >= 'A' && c <= 'Z') ||
           more.find(c) != std::string_view::npos;
  });
}

bool IsName(std::string_view text, std::string_view more, bool upper) {
  return !text.empty() && text.size() <= 64 && AllOf(text, more, upper);
}

// A repository that the public can look at. Anything else (a path of this host, a URL with a
// password in it) is not told.
bool IsPublicRepository(std::string_view url) {
  constexpr std::string_view kScheme = "https://";
  if (!url.starts_with(kScheme) || url.size() > 200) return false;
  url.remove_prefix(kScheme.size());
  return url.find("..") == std::string_view::npos && AllOf(url, "._-/", true);
}

bool IsCommit(std::string_view text) { return IsLowerHex(text, 40) || IsLowerHex(text, 64); }
bool IsDigest(std::string_view text) { return IsSha256Digest(text) || IsLowerHex(text, 64); }

// 123456 is 100000: the size of a job, and no room for a message.
uint64_t OneDigit(uint64_t n) {
  uint64_t unit = 1;
  while (n / unit >= 10) unit *= 10;
  return n / unit * unit;
}

std::string Minute(int64_t ns) { return Rfc3339(ns).substr(0, 16) + "Z"; }

const char* OutcomeName(PublicOutcome outcome) {
  static constexpr const char* kNames[] = {"succeeded", "failed", "killed", "refused", "fault"};
  return kNames[static_cast<size_t>(outcome)];
}

}  // namespace

Result<Hash> HashFromHex(std::string_view hex) {
  if (!IsLowerHex(hex, 64)) return BadInput("", "not a hash: " + std::string(hex.substr(0, 80)));
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Hash hash;
  for (size_t i = 0; i < hash.size(); ++i)
    hash[i] = static_cast<uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
  return hash;
}

namespace {

// What is signed: all of the head but the signature.
Json HeadJson(const TreeHead& head, const std::string& time) {
  Json roots = Json::array();
  for (const Hash& root : head.frontier.roots) roots.push_back(HexOf(root));
  return {{"size", head.frontier.size},
          {"root", HexOf(head.frontier.Root())},
          {"frontier", roots},
          {"bytes", head.bytes},
          {"time", time}};
}

// An empty head when there is none yet.
Result<TreeHead> ReadHead(const std::string& state_dir, const std::string& directory,
                          LogFinding* finding) {
  auto text = ReadFile(directory + "/" + kHeadName, 1u << 20);
  if (!text && text.error().code == ENOENT) return TreeHead{};
  if (!text) return std::move(text).error();
  return ParseHead(state_dir, *text, finding);
}

Result<void> WriteHead(int dir, const std::string& state_dir, const TreeHead& head) {
  CARREL_ASSIGN(HostKey key, HostKey::Open(state_dir));
  const std::string text = HeadJson(head, Minute(NowNs())).dump();
  CARREL_ASSIGN(Signature signature, key.Sign(text));
  const Json outer = {{"head", text}, {"key", signature.key_id}, {"signature", signature.hex}};
  // The public half goes with the log, for whoever has only that.
  CARREL_ASSIGN(std::string public_key,
                ReadFile(state_dir + "/keys/" + signature.key_id + ".pub", 4096));
  if (::faccessat(dir, (signature.key_id + ".pub").c_str(), F_OK, 0) != 0)
    CARREL_TRY(WriteFileAtomic(dir, signature.key_id + ".pub", public_key, 0644));
  return WriteFileAtomic(dir, kHeadName, outer.dump() + "\n", 0644);
}

Result<std::string> ReadFrom(int fd, uint64_t offset) {
  if (::lseek(fd, static_cast<off_t>(offset), SEEK_SET) < 0) return SysFault(kLogName, "lseek");
  return ReadFd(fd, kMaxLog);
}

// Brings the head up to what is in the file: records that were written before a crash, but not yet
// under a head, go into the tree; half a line goes out.
Result<void> CatchUp(int fd, TreeHead& head) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SysFault(kLogName, "fstat");
  const auto size = static_cast<uint64_t>(info.st_size);
  if (size < head.bytes)
    return Fault(kLogName, "the public log is shorter than its head says",
                 "Records were removed; restore it from a copy");
  if (size == head.bytes) return {};
  CARREL_ASSIGN(std::string rest, ReadFrom(fd, head.bytes));
  // A crash leaves one record without a head. More of them are a log whose head was taken away: it
  // is not signed anew as whatever it says now.
  if (head.text.empty() && std::count(rest.begin(), rest.end(), '\n') > 1)
    return Fault(kHeadName, "the head of the public log is missing", "Restore it from a copy");
  size_t at = 0;
  for (size_t end; (end = rest.find('\n', at)) != std::string::npos; at = end + 1)
    head.frontier.Append(LeafHash(std::string_view(rest).substr(at, end - at)));
  head.bytes += at;
  if (at < rest.size() && ::ftruncate(fd, static_cast<off_t>(head.bytes)) != 0)
    return SysFault(kLogName, "truncate half a line");
  return {};
}

}  // namespace

std::string PublicRecordText(const PublicJob& job) {
  OrderedJson record;
  OrderedJson withheld = OrderedJson::array();
  auto put = [&](const char* key, const std::string& value, bool fit) {
    if (fit)
      record[key] = value;
    else if (!value.empty())
      withheld.push_back(key);
  };
  record["format"] = 1;
  put("job", job.job, IsName(job.job, "._-", true));
  put("repository", job.repository, IsPublicRepository(job.repository));
  put("commit", job.commit, IsCommit(job.commit));
  put("image", job.image_digest, IsSha256Digest(job.image_digest));
  put("tool", job.tool, IsName(job.tool, "-_", false));
  put("project", job.project, IsName(job.project, "-", true));
  put("policy", job.policy_digest, IsDigest(job.policy_digest));
  constexpr std::string_view kChanges = "+changes";
  std::string policy_commit = job.policy_commit;
  const bool changed = policy_commit.ends_with(kChanges);
  if (changed) policy_commit.resize(policy_commit.size() - kChanges.size());
  put("policy_commit", policy_commit, IsCommit(policy_commit));
  if (changed && record.contains("policy_commit")) record["policy_changed"] = true;
  put("seccomp", job.seccomp_digest, IsDigest(job.seccomp_digest));
  put("database", job.database, IsName(job.database, "-_", false));
  record["includes_opted_out"] = job.includes_opted_out;
  OrderedJson permissions = OrderedJson::array();
  bool hidden = false;
  for (const std::string& permission : job.permissions) {
    if (IsName(permission, "-_", false))
      permissions.push_back(permission);
    else
      hidden = true;
  }
  record["permissions"] = permissions;
  if (hidden) withheld.push_back("permissions");
  record["started"] = Minute(job.started_ns);
  record["ended"] = Minute(job.ended_ns);
  record["outcome"] = OutcomeName(job.outcome);
  record["calls"] = OneDigit(job.counts.events);
  record["denied"] = OneDigit(job.counts.denied);
  if (record.contains("database")) record["statements"] = OneDigit(job.statements);
  record["complete"] = job.counts.lost == 0;
  put("seal", job.head, IsLowerHex(job.head, 64));
  if (!withheld.empty()) record["withheld"] = withheld;
  return record.dump();
}

Result<uint64_t> AppendPublicRecord(const std::string& state_dir, const PublicJob& job) {
  const std::string path = state_dir + "/public";
  CARREL_ASSIGN(UniqueFd dir, MakeDirs(path, 0755));
  if (::flock(dir.get(), LOCK_EX) != 0) return SysFault(path, "flock");
  LogFinding finding;
  CARREL_ASSIGN(TreeHead head, ReadHead(state_dir, path, &finding));
  CARREL_ASSIGN(UniqueFd log,
                OpenBeneath(dir.get(), kLogName, O_RDWR | O_CREAT | O_NOFOLLOW, 0644));
  CARREL_TRY(CatchUp(log.get(), head));
  const std::string text = PublicRecordText(job);
  if (::lseek(log.get(), static_cast<off_t>(head.bytes), SEEK_SET) < 0)
    return SysFault(path, "lseek");
  CARREL_TRY(WriteAll(log.get(), text + "\n"));
  if (::fsync(log.get()) != 0) return SysFault(path, "fsync");
  head.frontier.Append(LeafHash(text));
  head.bytes += text.size() + 1;
  const uint64_t index = head.frontier.size - 1;
  CARREL_TRY(WriteHead(dir.get(), state_dir, head));
  return index;
}

Result<TreeHead> ParseHead(const std::string& state_dir, const std::string& text,
                           LogFinding* finding) {
  *finding = LogFinding::kAltered;
  TreeHead head;
  CARREL_ASSIGN(Json outer, ParseJson(text, kHeadName));
  JsonObject in(outer, "");
  head.text = in.RequiredString("head", 65536);
  head.key_id = in.RequiredString("key");
  head.signature = in.RequiredString("signature");
  CARREL_TRY(in.Finish());
  auto check = CheckSignature(state_dir, head.text, {head.key_id, head.signature});
  if (!check) return std::move(check).error();
  if (*check == SignatureCheck::kUnknownKey) {
    *finding = LogFinding::kUnknownKey;
    return Fault(kHeadName, "signed with key " + head.key_id + ", which is not known here");
  }
  if (*check == SignatureCheck::kBad) return Fault(kHeadName, "its signature is not good");
  CARREL_ASSIGN(Json inner, ParseJson(head.text, kHeadName));
  JsonObject fields(inner, "/head");
  head.frontier.size = static_cast<uint64_t>(fields.RequiredInt("size", 0, INT64_MAX));
  head.bytes = static_cast<uint64_t>(fields.RequiredInt("bytes", 0, INT64_MAX));
  const auto roots = fields.Strings("frontier").value_or(std::vector<std::string>{});
  const std::string root = fields.RequiredString("root");
  (void)fields.RequiredString("time");
  CARREL_TRY(fields.Finish());
  for (const std::string& hex : roots) {
    CARREL_ASSIGN(Hash hash, HashFromHex(hex));
    head.frontier.roots.push_back(hash);
  }
  // One root for each bit of the size; `root` is what they make.
  if (head.frontier.roots.size() != static_cast<size_t>(std::popcount(head.frontier.size)) ||
      HexOf(head.frontier.Root()) != root)
    return Fault(kHeadName, "its root is not that of its subtrees");
  *finding = LogFinding::kWhole;
  return head;
}

Result<PublicLog> ReadPublicLog(const std::string& state_dir, const std::string& directory,
                                LogFinding* finding) {
  LogFinding ignored;
  if (finding == nullptr) finding = &ignored;
  *finding = LogFinding::kAltered;
  PublicLog log;
  CARREL_ASSIGN(log.head, ReadHead(state_dir, directory, finding));
  auto text = ReadFile(directory + "/" + kLogName, kMaxLog);
  if (!text && text.error().code == ENOENT && log.head.frontier.size == 0) {
    *finding = LogFinding::kWhole;
    return log;
  }
  if (!text || text->size() < log.head.bytes) {
    *finding = LogFinding::kTruncated;
    if (!text) return std::move(text).error();
    return Fault(kLogName, "shorter than its head says: records are missing");
  }
  if (log.head.text.empty() && !text->empty()) {
    *finding = LogFinding::kTruncated;
    return Fault(kHeadName, "is not there: nothing says which records the log had");
  }
  *finding = LogFinding::kAltered;
  // What a running job has appended since the head was written is not under it.
  log.unsigned_bytes = text->size() - log.head.bytes;
  std::string_view covered = std::string_view(*text).substr(0, log.head.bytes);
  Frontier tree;
  for (size_t at = 0, end; at < covered.size(); at = end + 1) {
    end = covered.find('\n', at);
    if (end == std::string_view::npos) return Fault(kLogName, "its head ends inside a record");
    log.records.emplace_back(covered.substr(at, end - at));
    log.leaves.push_back(LeafHash(log.records.back()));
    tree.Append(log.leaves.back());
  }
  if (tree.size != log.head.frontier.size || tree.roots != log.head.frontier.roots)
    return Fault(kLogName, "its records are not those that the head was signed over");
  *finding = LogFinding::kWhole;
  return log;
}

std::optional<uint64_t> FindPublicRecord(const PublicLog& log, const std::string& job) {
  for (uint64_t i = log.records.size(); i-- > 0;) {
    auto record = ParseJson(log.records[i], kLogName);
    if (record && record->is_object() && record->value("job", std::string()) == job) return i;
  }
  return std::nullopt;
}

}  // namespace carrel
