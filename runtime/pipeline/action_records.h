// What earlier runs of a pipeline made: so that what is up to date is not made again.
#pragma once

#include <map>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "policy/host_config.h"

namespace carrel {

/// The last good run of one action.
struct ActionRecord {
  std::string fingerprint;  ///< of all that went in
  std::string job_id;
  std::map<std::string, std::string> outputs;  ///< path to SHA-256, as the manifest had them
};

/// The records of one workspace, in <state>/pipelines/<workspace>.json. One process at a time.
class ActionRecords {
 public:
  /// kBadInput when another pipeline of the workspace runs.
  static Result<ActionRecords> Open(const HostConfig& host, const std::string& workspace);

  /// The outputs of a job in the workspace's manifest: path to SHA-256.
  Result<std::map<std::string, std::string>> OutputsOf(const std::string& job_id) const;

  /// The action's record, when everything that went in is as `fingerprint` says, and its outputs
  /// are still in the manifest and, byte for byte, at their levels. Else nullptr.
  const ActionRecord* UpToDate(const std::string& action, const std::string& fingerprint) const;

  /// Writes the record of a run that ended well.
  Result<void> Store(const std::string& action, const ActionRecord& record);

 private:
  ActionRecords() = default;
  Result<Json> ManifestEntries() const;
  std::string workspace_;
  UniqueFd directory_, lock_;
  std::string manifest_;  ///< its path
  std::string level3_;    ///< the workspace's directory
  std::string level4_;
  std::map<std::string, ActionRecord> records_;
};

}  // namespace carrel
