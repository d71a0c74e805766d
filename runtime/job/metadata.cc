#include "job/metadata.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/fs.h"
#include "job/collect_copy.h"
#include "policy/names.h"

namespace carrel {
namespace {

constexpr const char* kRedacted = "[redacted]";
constexpr uint64_t kMaxLog = 1ull << 32;

// What images and carrel set, and what holds no secret. All else is redacted: an image or a job can
// carry a credential under any name.
const std::set<std::string, std::less<>>& SafeNames() {
  static const std::set<std::string, std::less<>> kNames = {"PATH",
                                                            "HOME",
                                                            "LANG",
                                                            "LANGUAGE",
                                                            "LC_ALL",
                                                            "LC_CTYPE",
                                                            "TZ",
                                                            "TERM",
                                                            "HOSTNAME",
                                                            "DEBIAN_FRONTEND",
                                                            "PYTHONPATH",
                                                            "PYTHONUNBUFFERED",
                                                            "PYTHON_VERSION",
                                                            "PYTHONDONTWRITEBYTECODE",
                                                            "VIRTUAL_ENV",
                                                            "R_HOME",
                                                            "R_VERSION",
                                                            "JULIA_PATH",
                                                            "JULIA_VERSION",
                                                            "OPENSAFELY_BACKEND",
                                                            "EHRQL_PERMISSIONS",
                                                            "OMP_NUM_THREADS",
                                                            "OPENBLAS_NUM_THREADS",
                                                            "ACTION_EXEC",
                                                            "UBUNTU_VERSION",
                                                            "DEBCONF_NONINTERACTIVE_SEEN"};
  return kNames;
}

std::string SafeValue(const std::string& name, const std::string& value) {
  const size_t scheme = value.find("://");
  const bool credentials =
      scheme != std::string::npos && value.find('@', scheme) != std::string::npos;
  return SafeNames().contains(name) && !credentials ? value : kRedacted;
}

OrderedJson RedactEntry(const OrderedJson& entry) {
  if (!entry.is_string()) return kRedacted;
  const std::string text = entry.get<std::string>();
  const size_t equals = text.find('=');
  if (equals == std::string::npos) return text;
  const std::string name = text.substr(0, equals);
  return name + "=" + SafeValue(name, text.substr(equals + 1));
}

bool IsEnvironment(std::string name) {
  for (char& c : name)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return name == "env" || name == "environment";
}

OrderedJson RedactMember(const OrderedJson& value) {
  OrderedJson redacted = value.is_array() ? OrderedJson::array() : OrderedJson::object();
  if (value.is_array()) {
    for (const OrderedJson& entry : value) redacted.push_back(RedactEntry(entry));
    return redacted;
  }
  if (!value.is_object()) return value.is_null() ? value : OrderedJson(kRedacted);
  for (const auto& [name, entry] : value.items())
    redacted[name] =
        entry.is_string() ? SafeValue(name, entry.get<std::string>()) : std::string(kRedacted);
  return redacted;
}

OrderedJson OrNull(const std::string& text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

// Opens the job's directory among the logs.
Result<UniqueFd> LogDirectory(const RecordPlaces& places) {
  if (!IsName(places.job_id) || !IsName(places.month))
    return BadInput("/id", "the job id is not a name");
  return MakeLevelDirs(places.high_logs, places.month + "/os-job-" + places.job_id, places.high);
}

// Copies `log` to `name` in `dir`, whole or not at all; jobs of the same action one after another.
Result<void> CopyLog(int log, int dir, const std::string& name, const LevelOwnership& ownership) {
  CARREL_ASSIGN(const UniqueFd lock, OpenBeneath(dir, ".", O_RDONLY | O_DIRECTORY));
  CARREL_TRY(LockExclusively(lock.get(), name));
  const std::string temporary = "." + name + ".tmp";
  const auto copy = [&]() -> Result<void> {
    if (::unlinkat(dir, temporary.c_str(), 0) != 0 && errno != ENOENT)
      return SysFault(name, "unlink");
    CARREL_ASSIGN(UniqueFd file, OpenBeneath(dir, temporary, O_RDWR | O_CREAT | O_EXCL, 0600));
    Copier copier;
    CARREL_TRY(copier.Copy(log, file.get(), kMaxLog));
    if (::fchown(file.get(), ownership.owner, ownership.group) != 0)
      return SysFault(name, "fchown");
    if (::fchmod(file.get(), ownership.file_mode) != 0) return SysFault(name, "fchmod");
    if (::fsync(file.get()) != 0) return SysFault(name, "fsync");
    if (::renameat(dir, temporary.c_str(), dir, name.c_str()) != 0) return SysFault(name, "rename");
    if (::fsync(dir) != 0) return SysFault(name, "fsync of the directory");
    return {};
  };
  auto copied = copy();
  if (!copied) {
    (void)::unlinkat(dir, temporary.c_str(), 0);
    copied.error().where = name;
  }
  return copied;
}

}  // namespace

OrderedJson RedactEnvironment(const OrderedJson& value) {
  if (value.is_array()) {
    OrderedJson list = OrderedJson::array();
    for (const OrderedJson& entry : value) list.push_back(RedactEnvironment(entry));
    return list;
  }
  if (!value.is_object()) return value;
  OrderedJson object = OrderedJson::object();
  for (const auto& [name, member] : value.items())
    object[name] = IsEnvironment(name) ? RedactMember(member) : RedactEnvironment(member);
  return object;
}

OrderedJson ToJson(const JobDefinition& job, const JobMetadata& metadata) {
  OrderedJson outputs = OrderedJson::object(), excluded = OrderedJson::object();
  for (const CollectedOutput& output : metadata.collection.outputs) {
    outputs[output.path] = LevelName(output.level);
    if (output.withheld) excluded[output.path] = *output.withheld;
  }
  OrderedJson carrel = metadata.carrel;
  carrel["tampered"] = metadata.collection.tampered;
  carrel["skipped_outputs"] = metadata.collection.skipped;
  return {{"outputs", outputs},
          {"unmatched_patterns", metadata.collection.unmatched_patterns},
          {"unmatched_outputs", metadata.collection.unmatched_outputs},
          {"status_message", metadata.message.status},
          {"hint", OrNull(metadata.message.hint)},
          {"timestamp_ns", metadata.completed_at_ns},
          {"job_definition_id", job.id},
          {"job_definition_rap_id", job.rap_id},
          {"task_id", OrNull(job.task_id)},
          {"created_at", job.created_at},
          {"user", job.user},
          {"completed_at", metadata.completed_at_ns / 1'000'000'000},
          {"docker_image_id", OrNull(metadata.image_id)},
          {"expected_image_id", OrNull(job.image_sha)},
          {"exit_code", std::to_string(metadata.exit_code)},
          {"oom_killed", metadata.oom_killed},
          {"container_metadata", RedactEnvironment(metadata.container_metadata)},
          {"commit", job.commit},
          {"database_name", job.allow_database_access ? OrNull(job.database_name) : OrNull("")},
          {"action_version", OrNull(metadata.action_version)},
          {"action_revision", OrNull(metadata.action_revision)},
          {"action_created", OrNull(metadata.action_created)},
          {"base_revision", OrNull(metadata.base_revision)},
          {"base_created", OrNull(metadata.base_created)},
          {"level4_excluded_files", excluded},
          {"cancelled", metadata.cancelled},
          {"error", OrNull(metadata.error)},
          {"job_metrics", metadata.job_metrics},
          {"carrel", carrel}};
}

Result<void> WriteMetadata(const RecordPlaces& places, const OrderedJson& metadata) {
  CARREL_ASSIGN(UniqueFd dir, LogDirectory(places));
  // What is not UTF-8 is replaced: a record with a doubtful character is better than none.
  const std::string text =
      metadata.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
  CARREL_TRY(RemoveTemporaries(dir.get(), "metadata.json"));
  return WriteFileAtomic(dir.get(), "metadata.json", text, places.high.file_mode, places.high.owner,
                         places.high.group);
}

Result<void> PublishLog(const RecordPlaces& places, int log) {
  // The action's name becomes a file name.
  if (!IsName(places.action)) return BadInput("/action", "the action's name is not a name");
  CARREL_ASSIGN(UniqueFd logs, LogDirectory(places));
  CARREL_TRY(CopyLog(log, logs.get(), "logs.txt", places.high));
  CARREL_ASSIGN(UniqueFd high, MakeLevelDirs(places.high_workspace, "metadata", places.high));
  CARREL_TRY(CopyLog(log, high.get(), places.action + ".log", places.high));
  CARREL_ASSIGN(UniqueFd medium, MakeLevelDirs(places.medium_workspace, "metadata", places.medium));
  return CopyLog(log, medium.get(), places.action + ".log", places.medium);
}

}  // namespace carrel
