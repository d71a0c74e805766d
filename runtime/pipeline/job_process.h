// One `carrel run` as a process of its own: what it says while it runs, and its result.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace carrel {

class JobProcess {
 public:
  /// Starts this program again with `args` ("run", ...). It is in a process group of its own, so
  /// that Ctrl-C reaches it through its parent only, and gets TERM when the parent dies.
  static Result<JobProcess> Start(const std::vector<std::string>& args);

  JobProcess(JobProcess&&) = default;
  /// Ends the process, if it runs.
  ~JobProcess();

  int exit_fd() const { return pidfd_.get(); }   ///< readable when it has ended
  int said_fd() const { return errors_.get(); }  ///< readable when it has said something

  /// Takes in what it said, and returns the number of the last step that it named (0: none).
  int ReadSaid();
  void Cancel();  ///< TERM: it ends its action, and removes all of it

  /// After its end: the exit status (128+n for signal n).
  Result<int> Wait();
  /// What it printed, as JSON; null when that is none.
  Json Output() const;
  /// The last lines that it said beside the steps.
  const std::string& complaint() const { return complaint_; }

 private:
  JobProcess() = default;
  void TakeLine(const std::string& line);

  pid_t pid_ = -1;
  UniqueFd pidfd_, output_, errors_;
  std::string partial_, complaint_;
  int step_ = 0;
};

}  // namespace carrel
