// Examines a host: what carrel needs, what is there, and what to do about the rest.
#pragma once

#include <string>
#include <vector>

namespace carrel {

struct Finding {
  enum class State {
    kThere,
    kAdvice,   ///< runs without it, with less
    kMissing,  ///< no job can run
    kUnknown,  ///< not checked; the detail says why
  };
  std::string name;
  State state = State::kThere;
  std::string detail;
  std::string remedy;  ///< empty when there is nothing to do
};

/// Tries things rather than to believe versions. Changes nothing but an existing state directory:
/// what every run needs there is made, as by a first run (the BPF programs are loaded). `config`
/// and `state` as for `carrel run`. Every part has its line whatever else is missing. The first
/// finding is "root": when it is missing, the rest can hardly be told.
std::vector<Finding> ExamineHost(const std::string& config, const std::string& state);

}  // namespace carrel
