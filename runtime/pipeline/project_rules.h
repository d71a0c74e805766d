// The rules of project files that need no place in the file: each a small check of one thing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "pipeline/project.h"

namespace carrel {

/// What is wrong, and what to do; no place.
struct RuleProblem {
  std::string what;
  std::string hint;
};

/// `pattern` as an output: relative, normal, no backslash, only `*`, with an extension, not under
/// metadata/.
std::optional<RuleProblem> OutputProblem(std::string_view pattern);

/// "python:v2": a name, and a tag that is vN, dev or latest; latest not from version 5 on.
std::optional<RuleProblem> ImageProblem(const std::string& image, double version);

/// An action's name: a name, and not run_all.
std::optional<RuleProblem> ActionNameProblem(const std::string& name);

/// ehrQL's generate-dataset makes patient-level data: its outputs are highly_sensitive, and are
/// what `--output` says.
std::optional<RuleProblem> DatasetProblem(const ProjectAction& action);

}  // namespace carrel
