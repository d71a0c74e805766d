#include "pipeline/action_records.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/digest.h"
#include "base/fs.h"

namespace carrel {
namespace {

constexpr size_t kMaxManifest = 256u << 20;

std::string TextOf(const Json& entry, const char* key) {
  if (!entry.is_object()) return "";
  auto found = entry.find(key);
  return found != entry.end() && found->is_string() ? found->get<std::string>() : "";
}

std::map<std::string, std::string> OutputsIn(const Json& entries, const std::string& job_id) {
  std::map<std::string, std::string> outputs;
  for (const auto& [path, entry] : entries.items())
    if (TextOf(entry, "job_id") == job_id) outputs[path] = TextOf(entry, "content_hash");
  return outputs;
}

bool IsThere(const std::string& workspace, const std::string& path, const std::string& hash) {
  auto directory = OpenPath(workspace, O_RDONLY | O_DIRECTORY);
  if (!directory) return false;
  auto file = OpenBeneath(directory->get(), path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) return false;
  auto now = Sha256HexOfFd(file->get());
  return now && *now == hash;
}

std::map<std::string, ActionRecord> Decode(const Json& document) {
  std::map<std::string, ActionRecord> records;
  if (!document.is_object()) return records;
  for (const auto& [name, entry] : document.items()) {
    ActionRecord record{TextOf(entry, "fingerprint"), TextOf(entry, "job_id"), {}};
    auto outputs = entry.is_object() ? entry.find("outputs") : entry.end();
    if (!entry.is_object() || outputs == entry.end() || !outputs->is_object()) continue;
    for (const auto& [path, hash] : outputs->items())
      if (hash.is_string()) record.outputs[path] = hash.get<std::string>();
    records[name] = std::move(record);
  }
  return records;
}

}  // namespace

Result<ActionRecords> ActionRecords::Open(const HostConfig& host, const std::string& workspace) {
  ActionRecords records;
  records.workspace_ = workspace;
  records.level4_ = host.medium_privacy + "/workspaces/" + workspace;
  records.manifest_ = records.level4_ + "/metadata/manifest.json";
  records.level3_ = host.high_privacy + "/workspaces/" + workspace;
  CARREL_ASSIGN(records.directory_, MakeDirs(host.state + "/pipelines", 0700));
  CARREL_ASSIGN(records.lock_, OpenBeneath(records.directory_.get(), workspace + ".lock",
                                           O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(records.lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return BadInput("/workspace", "a pipeline of the workspace " + workspace + " is running",
                    "Wait until it ends, or cancel it");
  auto file = OpenBeneath(records.directory_.get(), workspace + ".json", O_RDONLY | O_NOFOLLOW);
  if (!file && file.error().code == ENOENT) return records;
  if (!file) return std::move(file).error();
  CARREL_ASSIGN(const std::string text, ReadFd(file->get(), kMaxManifest));
  // A damaged record costs a run that was not needed, no more.
  if (auto document = ParseJson(text, workspace + ".json", kMaxManifest))
    records.records_ = Decode(*document);
  return records;
}

Result<Json> ActionRecords::ManifestEntries() const {
  CARREL_ASSIGN(const Json manifest, ReadJsonFile(manifest_, kMaxManifest));
  auto entries = manifest.find("outputs");
  if (entries == manifest.end() || !entries->is_object())
    return Fault("manifest.json", "it has no outputs", "The manifest is damaged");
  return *entries;
}

Result<std::map<std::string, std::string>> ActionRecords::OutputsOf(
    const std::string& job_id) const {
  CARREL_ASSIGN(const Json entries, ManifestEntries());
  return OutputsIn(entries, job_id);
}

const ActionRecord* ActionRecords::UpToDate(const std::string& action,
                                            const std::string& fingerprint) const {
  auto found = records_.find(action);
  if (found == records_.end() || found->second.fingerprint != fingerprint) return nullptr;
  const ActionRecord& record = found->second;
  const auto entries = ManifestEntries();
  if (!entries || record.outputs.empty() || OutputsIn(*entries, record.job_id) != record.outputs)
    return nullptr;
  for (const auto& [path, hash] : record.outputs) {
    const Json& entry = entries->at(path);
    const bool released = TextOf(entry, "level") == "moderately_sensitive" &&
                          entry.value("excluded", Json(true)) == false;
    if (!IsThere(level3_, path, hash) || (released && !IsThere(level4_, path, hash)))
      return nullptr;
  }
  return &record;
}

Result<void> ActionRecords::Store(const std::string& action, const ActionRecord& record) {
  records_[action] = record;
  Json document = Json::object();
  for (const auto& [name, one] : records_)
    document[name] = {
        {"fingerprint", one.fingerprint}, {"job_id", one.job_id}, {"outputs", one.outputs}};
  return WriteFileAtomic(directory_.get(), workspace_ + ".json", document.dump(1), 0600);
}

}  // namespace carrel
