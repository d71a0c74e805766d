// What a decision needs to know of a job. Filled by job/ from the job definition; policy/ stands
// below job/ and does not know it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "policy/level.h"

namespace carrel {

struct JobRequest {
  std::string workspace;
  std::string project;  ///< id or number, or empty: the policy maps the workspace
  std::string user;     ///< or empty
  std::string repo_url;
  std::string commit;
  std::string study_repo_url;  ///< empty when the definition names no study
  std::string study_commit;    ///< or empty
  /// The caller has put the code into the workspace by itself: neither its repository nor its
  /// commit is known here. Of the docker front alone.
  bool unknown_code_put_in_place_by_the_agent = false;
  std::string image;      ///< name:tag
  std::string image_sha;  ///< "sha256:...", or empty
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::set<Level> levels;  ///< that the output spec asks for
  bool allow_database_access = false;
  std::string database_name = "default";
  uint64_t memory_bytes = 0;  ///< 0: not said
  uint64_t cpu_milli = 0;     ///< 0: not said
  int64_t level4_max_csv_rows = 0;
  int64_t level4_max_filesize = 0;
  std::vector<std::string> level4_file_types;
  /// Those of the three members before, by name, that the job does not say: what stands there is
  /// usual, and asks for nothing that the policy does not give.
  std::set<std::string> level4_unsaid;
};

}  // namespace carrel
