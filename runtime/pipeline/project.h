// project.yaml: the actions of a study (contract.md, "project.yaml").
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "pipeline/yaml_document.h"
#include "policy/level.h"

namespace carrel {

struct ProjectOutput {
  std::string name;
  std::string pattern;  ///< relative to the workspace, `*` within one component
  Level level = Level::kHighlySensitive;
  TextPlace place;
};

struct ProjectAction {
  std::string name;  ///< a name of policy/names.h
  TextPlace place;
  std::string run;    ///< as the file has it
  std::string image;  ///< "python:v2"
  std::vector<std::string>
      args;  ///< what follows the image, and `--config JSON` where there is one
  std::vector<std::string> needs;  ///< each is an action of the project
  std::vector<ProjectOutput> outputs;
  std::string dummy_data_file;  ///< for runs on a researcher's machine; not used here
};

struct ProjectFile {
  double version = 0;
  std::vector<ProjectAction> actions;  ///< in the file's order

  const ProjectAction* Find(std::string_view name) const;
  std::set<std::string> Names() const;
};

/// Reads and checks a project file: all of contract.md's rules, all problems at once, in the file's
/// order. `project` is whole only when there is none.
std::vector<YamlProblem> ReadProject(std::string_view text, ProjectFile& project);

/// The same, as one kBadInput: "project.yaml:12:5: actions.extract.run: what. What to do", a
/// problem a line. `name` is the file's name.
Result<ProjectFile> ParseProject(std::string_view text, const std::string& name = "project.yaml");

/// One line of that.
std::string ToString(const YamlProblem& problem, const std::string& name);

/// The actions named, with all that they need, so that each comes after what it needs; in the
/// file's order otherwise. No names, or "run_all": all. kBadInput names what does not exist.
Result<std::vector<const ProjectAction*>> SelectActions(const ProjectFile& project,
                                                        const std::vector<std::string>& names);

/// The pipeline for graphviz: an arrow from an action to each that needs it.
std::string ProjectGraph(const ProjectFile& project);

}  // namespace carrel
