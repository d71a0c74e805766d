// What a researcher is told about the end of a job. Names of outputs go into hints only: the status
// message leaves the secure environment (contract.md, "Status results").
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace carrel {

/// How an action ended; of the supervisor, not guessed from the exit code.
struct ExitFacts {
  int exit_code = 0;           ///< as a shell reports it (128+n)
  bool oom_killed = false;     ///< the cgroup counted an OOM kill
  bool cancelled = false;      ///< the user asked for it
  bool timed_out = false;      ///< the job's time limit ended it
  bool database_tool = false;  ///< the policy knows the command as one that reaches the database
  uint64_t memory_limit = 0;   ///< bytes; 0: not known
  int64_t time_limit_s = 0;    ///< seconds; 0: none
  std::string last_output;     ///< the end of what the action printed; may be empty
};

struct JobMessage {
  std::string status;  ///< one line, free of names and patterns of outputs
  std::string hint;    ///< what to do; may be empty
};

/// The message for the end of the action itself.
JobMessage DescribeExit(const ExitFacts& facts);

/// The message for an action that ended well but did not make all of its outputs. The hint names
/// the patterns, up to 20 of the files that were made instead, and which of these may have been
/// meant; for the log and metadata.json.
JobMessage DescribeMissingOutputs(const std::vector<std::string>& unmatched_patterns,
                                  const std::vector<std::string>& unmatched_outputs);

}  // namespace carrel
