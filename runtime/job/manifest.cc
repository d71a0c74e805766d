#include "job/manifest.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/json.h"
#include "job/collect_copy.h"

namespace carrel {
namespace {

constexpr const char* kPlace = "metadata/manifest.json";
constexpr const char* kName = "manifest.json";
constexpr size_t kMaxManifest = 256u << 20;
constexpr const char* kMembers[] = {"level",
                                    "job_id",
                                    "job_request",
                                    "action",
                                    "user",
                                    "repo",
                                    "commit",
                                    "size",
                                    "timestamp",
                                    "content_hash",
                                    "excluded",
                                    "message",
                                    "row_count",
                                    "col_count",
                                    "out_of_date_action",
                                    "out_of_date_output"};

Error Broken(const std::string& what, int code = 0) {
  return {ErrorKind::kRefused, what, kPlace,
          "It is the record of the workspace's outputs and was not replaced. Restore it from a "
          "backup, or move it away, and run the job again",
          code};
}

// The manifest that is there; an empty one when there is none.
Result<Json> ReadManifest(int dir, const std::string& workspace) {
  auto file = OpenBeneath(dir, kName, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file && file.error().code == ENOENT)
    return Json{{"workspace", workspace}, {"repo", nullptr}, {"outputs", Json::object()}};
  if (!file) return Broken("the manifest cannot be opened", file.error().code);
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) return SysFault(kPlace, "fstat");
  if (!S_ISREG(info.st_mode)) return Broken("the manifest is not a regular file");
  auto text = ReadFd(file->get(), kMaxManifest);
  if (!text) return Broken("the manifest cannot be read", text.error().code);
  auto manifest = ParseJson(*text, kPlace, kMaxManifest);
  if (!manifest) return Broken(manifest.error().what);
  if (!manifest->is_object() || !manifest->contains("outputs") ||
      !(*manifest)["outputs"].is_object())
    return Broken("the manifest has no object \"outputs\"");
  if (manifest->value("workspace", Json()) != Json(workspace))
    return Broken("the manifest is of another workspace");
  for (const auto& [path, entry] : (*manifest)["outputs"].items())
    if (!entry.is_object()) return Broken("an entry of the manifest is not an object");
  return manifest;
}

template <typename T>
Json OrNull(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json Entry(const CollectedOutput& output, const ManifestUpdate& update) {
  const int64_t microseconds = update.timestamp_ns / 1'000;
  return {{"level", LevelName(output.level)},
          {"job_id", update.job_id},
          {"job_request", update.job_request},
          {"action", update.action},
          {"user", update.user},
          {"repo", update.repo},
          {"commit", update.commit},
          {"size", output.size},
          {"timestamp", static_cast<double>(microseconds) / 1e6},
          {"content_hash", output.sha256},
          {"excluded", output.withheld.has_value()},
          {"message", OrNull(output.withheld)},
          {"row_count", OrNull(output.row_count)},
          {"col_count", OrNull(output.col_count)}};
}

void MarkOutOfDate(const ManifestUpdate& update, Json* outputs) {
  std::set<std::string> made;
  for (const CollectedOutput& output : update.outputs) made.insert(output.path);
  for (auto& [path, entry] : outputs->items()) {
    const Json action = entry.value("action", Json());
    if (update.complete && action == Json(update.action) && !made.contains(path))
      entry["out_of_date_output"] = true;
    if (!update.actions || !action.is_string()) continue;
    if (update.actions->contains(action.get<std::string>()))
      entry.erase("out_of_date_action");
    else
      entry["out_of_date_action"] = true;
  }
}

// The members in the order of the contract, then those of others.
OrderedJson InOrder(const Json& manifest) {
  OrderedJson ordered = {{"workspace", manifest["workspace"]},
                         {"repo", manifest.value("repo", Json())},
                         {"outputs", OrderedJson::object()}};
  for (const auto& [path, entry] : manifest["outputs"].items()) {
    OrderedJson members = OrderedJson::object();
    for (const char* name : kMembers)
      if (entry.contains(name)) members[name] = entry[name];
    for (const auto& [name, value] : entry.items())
      if (!members.contains(name)) members[name] = value;
    ordered["outputs"][path] = std::move(members);
  }
  for (const auto& [name, value] : manifest.items())
    if (!ordered.contains(name)) ordered[name] = value;
  return ordered;
}

}  // namespace

Result<void> UpdateManifest(int medium_workspace, const ManifestUpdate& update) {
  CARREL_ASSIGN(UniqueFd dir, MakeLevelDirs(medium_workspace, "metadata", update.files));
  // The lock is on the directory: a lock file would show among the outputs. It ends with `dir`.
  CARREL_TRY(LockExclusively(dir.get(), kPlace));
  CARREL_TRY(RemoveTemporaries(dir.get(), kName));
  CARREL_ASSIGN(Json manifest, ReadManifest(dir.get(), update.workspace));
  Json& outputs = manifest["outputs"];
  for (const CollectedOutput& output : update.outputs) outputs[output.path] = Entry(output, update);
  MarkOutOfDate(update, &outputs);
  std::string text;
  try {
    text = InOrder(manifest).dump(2) + "\n";
  } catch (const Json::exception& error) {
    return BadInput(kPlace, std::string("a member is not UTF-8: ") + error.what());
  }
  auto written = WriteFileAtomic(dir.get(), kName, text, update.files.file_mode, update.files.owner,
                                 update.files.group);
  if (!written) written.error().where = kPlace;
  return written;
}

}  // namespace carrel
