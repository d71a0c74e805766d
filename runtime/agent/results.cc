#include "agent/results.h"

namespace carrel {
namespace {

OrderedJson LabelOrNull(const Image& image, const char* name) {
  const auto found = image.config.labels.find(name);
  return found == image.config.labels.end() || found->second.empty() ? OrderedJson(nullptr)
                                                                     : OrderedJson(found->second);
}

OrderedJson TextOrNull(const std::string& text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

}  // namespace

OrderedJson ExecutedResults(const JobRecords& records) {
  const ActionEnd& end = records.run.end;
  return {{"exit_code", end.exit_code},
          {"oom_killed", records.oom_killed()},
          {"timed_out", end.timed_out},
          {"cancelled", end.cancelled}};
}

OrderedJson FinalizedResults(const JobRecords& records) {
  OrderedJson results = ExecutedResults(records);
  bool excluded = false;
  for (const CollectedOutput& output : records.collection.outputs)
    excluded = excluded || output.withheld;
  results["succeeded"] = records.succeeded();
  results["status_message"] = records.message.status;
  results["error"] = TextOrNull(records.error);
  results["has_unmatched_patterns"] = !records.collection.unmatched_patterns.empty();
  results["has_level4_excluded_files"] = excluded;
  results["image_id"] = TextOrNull(records.image.config_digest);
  results["action_version"] = LabelOrNull(records.image, "org.opencontainers.image.version");
  results["action_revision"] = LabelOrNull(records.image, "org.opencontainers.image.revision");
  results["action_created"] = TextOrNull(records.image.config.created);
  results["base_revision"] = LabelOrNull(records.image, "org.opensafely.base.vcs-ref");
  results["base_created"] = LabelOrNull(records.image, "org.opencontainers.base.build-date");
  results["timestamp_ns"] = records.run.ended_ns;
  results["audit"] = {{"id", records.audit_id}, {"seal", TextOrNull(records.seal.head)}};
  return results;
}

}  // namespace carrel
