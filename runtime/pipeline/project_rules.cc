#include "pipeline/project_rules.h"

#include <fnmatch.h>

#include <algorithm>

#include "base/fs.h"
#include "policy/names.h"

namespace carrel {
namespace {

bool IsVersionTag(std::string_view tag) {
  if (tag.size() < 2 || tag[0] != 'v') return false;
  bool digit = false;  // the character before was one
  for (const char c : tag.substr(1)) {
    if (c == '.' && !digit) return false;
    if (c != '.' && (c < '0' || c > '9')) return false;
    digit = c != '.';
  }
  return digit;
}

// The value of `--output X` or `--output=X`; the last one, as the tool's own reader has it.
std::optional<std::string> OutputArgument(const std::vector<std::string>& args) {
  std::optional<std::string> value;
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--output" && i + 1 < args.size()) value = args[i + 1];
    if (args[i].starts_with("--output=")) value = args[i].substr(9);
  }
  return value;
}

// "output/dataset.csv" by equality or wildcard; a directory by what the pattern has below it.
bool Declares(const std::string& pattern, const std::string& path) {
  return pattern == path || ::fnmatch(pattern.c_str(), path.c_str(), FNM_PATHNAME) == 0 ||
         pattern.starts_with(path + "/");
}

}  // namespace

std::optional<RuleProblem> OutputProblem(std::string_view pattern) {
  const std::string quoted = "the output \"" + std::string(pattern) + "\" ";
  if (pattern.empty()) return RuleProblem{"an output cannot be empty", "Name a file"};
  if (pattern.front() == '/')
    return RuleProblem{quoted + "is an absolute path", "Make it relative to the workspace"};
  if (pattern.find('\\') != std::string_view::npos)
    return RuleProblem{quoted + "has a backslash", "Use / between directories"};
  for (const char* sign : {"**", "?", "["})
    if (pattern.find(sign) != std::string_view::npos)
      return RuleProblem{quoted + "has \"" + sign + "\"", "* is the only wildcard"};
  if (pattern.back() == '/')
    return RuleProblem{quoted + "is a directory", "Name the files, such as output/*.csv"};
  if (!IsNormalRelativePath(pattern))
    return RuleProblem{quoted + "is not a normal path",
                       "Remove \"..\", \".\", \"//\" and control characters"};
  const std::string_view last = pattern.substr(pattern.rfind('/') + 1);
  const size_t dot = last.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == last.size())
    return RuleProblem{quoted + "has no extension", "End it in .csv or another type of file"};
  std::string first(pattern.substr(0, pattern.find('/')));
  std::transform(first.begin(), first.end(), first.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (first == "metadata")
    return RuleProblem{quoted + "is under metadata/, which is not the study's",
                       "Use another directory"};
  return std::nullopt;
}

std::optional<RuleProblem> ImageProblem(const std::string& image, double version) {
  const auto reference = ParseImageReference(image);
  if (!reference)
    return RuleProblem{"\"" + image + "\" is not an image with a version",
                       "Begin with name:tag, such as python:v2"};
  if (reference->tag == "latest" && version >= 5)
    return RuleProblem{"\"" + image + "\": `latest` is not allowed from version 5 on",
                       "Name a version, such as " + reference->name + ":v1"};
  if (reference->tag != "latest" && reference->tag != "dev" && !IsVersionTag(reference->tag))
    return RuleProblem{"\"" + image + "\" has a tag that is no version",
                       version >= 5 ? "Use vN or dev" : "Use vN, dev or latest"};
  return std::nullopt;
}

std::optional<RuleProblem> ActionNameProblem(const std::string& name) {
  if (name == "run_all")
    return RuleProblem{"run_all is reserved: it stands for all actions", "Rename the action"};
  if (!IsName(name))
    return RuleProblem{"\"" + name + "\" is not a name for an action",
                       "Use A-Z a-z 0-9 _ . - only, a letter or digit first, 128 at most"};
  return std::nullopt;
}

std::optional<RuleProblem> DatasetProblem(const ProjectAction& action) {
  const auto reference = ParseImageReference(action.image);
  if (!reference || action.args.empty() || action.args[0] != "generate-dataset") return {};
  const std::string base = reference->name.substr(reference->name.rfind('/') + 1);
  if (base != "ehrql" && base != "databuilder") return {};
  for (const ProjectOutput& output : action.outputs)
    if (output.level != Level::kHighlySensitive)
      return RuleProblem{"outputs of generate-dataset are patient-level data: \"" + output.pattern +
                             "\" must be highly_sensitive",
                         "Move it to highly_sensitive"};
  auto path = OutputArgument(action.args);
  if (!path)
    return RuleProblem{"generate-dataset has no --output", "Add --output and the declared file"};
  // "dataset:arrow" names a directory and a format.
  const std::string file = path->substr(0, path->find(':'));
  for (const ProjectOutput& output : action.outputs)
    if (Declares(output.pattern, file)) return {};
  return RuleProblem{"--output " + *path + " is none of the action's outputs",
                     "Make --output and `outputs` the same"};
}

}  // namespace carrel
