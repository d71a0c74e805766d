#include "pipeline/project.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>

#include "pipeline/project_rules.h"
#include "pipeline/shell_words.h"

namespace carrel {
namespace {

constexpr size_t kMaxBytes = 1u << 20;
constexpr size_t kMaxActions = 2000;
constexpr double kLatestVersion = 5;

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

class Reader {
 public:
  Reader(const YamlNode& root, ProjectFile& project, std::vector<YamlProblem> problems)
      : root_(root), project_(project), problems_(std::move(problems)) {}

  std::vector<YamlProblem> Read() {
    if (!root_.IsMap()) {
      Add(root_.place, "", "a project file is a map", "It needs `version` and `actions`");
      return problems_;
    }
    RefuseUnknown(root_, "", {"version", "expectations", "actions"});
    ReadVersion();
    ReadExpectations();
    ReadActions();
    CheckUnique();
    CheckNeeds();
    CheckCycles();
    std::stable_sort(problems_.begin(), problems_.end(), [](const auto& a, const auto& b) {
      return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
    });
    return problems_;
  }

 private:
  void Add(TextPlace place, std::string path, std::string what, std::string hint) {
    problems_.push_back({place, std::move(path), std::move(what), std::move(hint)});
  }
  void Add(TextPlace place, const std::string& path, const std::optional<RuleProblem>& problem) {
    if (problem) Add(place, path, problem->what, problem->hint);
  }

  void RefuseUnknown(const YamlNode& map, const std::string& path,
                     const std::vector<std::string>& known) {
    std::string names;
    for (const std::string& name : known) names += (names.empty() ? "" : ", ") + name;
    for (const auto& [key, value] : map.members)
      if (std::find(known.begin(), known.end(), key.text) == known.end())
        Add(key.place, path + (path.empty() ? "" : ".") + key.text,
            "the key \"" + key.text + "\" is not known", "Known are " + names);
  }

  // The text of a scalar; a problem and "" for anything else.
  std::string Text(const YamlNode& node, const std::string& path) {
    if (node.IsScalar() && !node.text.empty()) return node.text;
    Add(node.place, path, "must be text", "Write it after the colon, on the same line");
    return "";
  }

  void ReadVersion() {
    const YamlNode* node = root_.Find("version");
    if (node == nullptr)
      return Add(root_.place, "version", "is missing", "Add `version: \"4.0\"` (the latest is 5)");
    const char* end = node->text.data() + node->text.size();
    double version = 0;
    const auto [rest, error] = std::from_chars(node->text.data(), end, version);
    if (!node->IsScalar() || error != std::errc() || rest != end || !(version >= 1) ||
        !(version <= kLatestVersion))
      return Add(node->place, "version", "must be a number from 1 to 5",
                 "Write `version: \"4.0\"`");
    project_.version = version;
  }

  void ReadExpectations() {
    const YamlNode* node = root_.Find("expectations");
    const double version = project_.version;
    if (node == nullptr) {
      if (version >= 3 && version < 4)
        Add(root_.place, "expectations", "is required at version 3",
            "Add `expectations: {population_size: 1000}`");
      return;
    }
    if (version >= 4)
      return Add(node->place, "expectations", "is not used from version 4 on",
                 "Remove the section");
    if (!node->IsMap())
      return Add(node->place, "expectations", "must be a map", "It holds `population_size`");
    RefuseUnknown(*node, "expectations", {"population_size"});
    const YamlNode* size = node->Find("population_size");
    if (size == nullptr)
      return Add(node->place, "expectations.population_size", "is missing", "Add a number");
    const OrderedJson number = ToJson(*size);
    if (!number.is_number_integer() || number < 0)
      Add(size->place, "expectations.population_size", "must be a whole number", "Write 1000");
  }

  void ReadActions() {
    const YamlNode* node = root_.Find("actions");
    if (node == nullptr)
      return Add(root_.place, "actions", "is missing", "A project has at least one action");
    if (!node->IsMap() || node->members.empty())
      return Add(node->place, "actions", "must be a map with at least one action",
                 "Write the action's name, a colon, and below it `run` and `outputs`");
    if (node->members.size() > kMaxActions)
      return Add(node->place, "actions", "has more than 2000 actions", "Split the project");
    for (const auto& [key, value] : node->members) {
      const std::string path = "actions." + key.text;
      Add(key.place, path, ActionNameProblem(key.text));
      ProjectAction action;
      action.name = key.text;
      action.place = key.place;
      if (value.IsMap())
        ReadAction(value, path, action);
      else
        Add(value.place, path, "must be a map", "It needs `run` and `outputs`");
      project_.actions.push_back(std::move(action));
    }
  }

  void ReadAction(const YamlNode& node, const std::string& path, ProjectAction& action) {
    RefuseUnknown(node, path, {"run", "needs", "outputs", "config", "dummy_data_file"});
    const size_t before = problems_.size();
    ReadRun(node, path, action);
    ReadNeeds(node.Find("needs"), path + ".needs", action);
    ReadOutputs(node, path, action);
    if (const YamlNode* config = node.Find("config"); config != nullptr && !config->IsNull()) {
      if (!config->IsMap())
        Add(config->place, path + ".config", "must be a map", "Write `name: value` below it");
      action.args.insert(action.args.end(), {"--config", ToJson(*config).dump()});
    }
    if (const YamlNode* file = node.Find("dummy_data_file"); file != nullptr && !file->IsNull())
      action.dummy_data_file = Text(*file, path + ".dummy_data_file");
    if (problems_.size() == before)
      Add(node.Find("run")->place, path + ".run", DatasetProblem(action));
  }

  void ReadRun(const YamlNode& node, const std::string& path, ProjectAction& action) {
    const YamlNode* run = node.Find("run");
    if (run == nullptr)
      return Add(node.place, path + ".run", "is missing", "Write `run: image:tag command`");
    action.run = Text(*run, path + ".run");
    if (action.run.empty()) return;
    auto words = SplitShellWords(action.run);
    if (!words)
      return Add(run->place, path + ".run", words.error().what, "Close the quote, or remove it");
    if (words->empty())
      return Add(run->place, path + ".run", "is empty", "Write `run: image:tag command`");
    action.image = words->front();
    action.args.assign(words->begin() + 1, words->end());
    Add(run->place, path + ".run", ImageProblem(action.image, project_.version));
    for (const std::string& arg : action.args)
      if (HasControl(arg))
        Add(run->place, path + ".run", "an argument holds a line end or control character",
            "Pass such text in a file of the study");
  }

  void ReadNeeds(const YamlNode* node, const std::string& path, ProjectAction& action) {
    if (node == nullptr || node->IsNull()) return;
    if (!node->IsList())
      return Add(node->place, path, "must be a list", "Write `needs: [action, action]`");
    for (const YamlNode& item : node->items) {
      const std::string need = Text(item, path);
      if (need.empty()) continue;
      if (std::find(action.needs.begin(), action.needs.end(), need) != action.needs.end())
        Add(item.place, path, "\"" + need + "\" is there twice", "Remove one");
      need_places_[{action.name, need}] = item.place;
      action.needs.push_back(need);
    }
  }

  void ReadOutputs(const YamlNode& node, const std::string& path, ProjectAction& action) {
    const YamlNode* outputs = node.Find("outputs");
    const char* kExample = "Write `outputs: {moderately_sensitive: {table: output/table.csv}}`";
    if (outputs == nullptr) return Add(node.place, path + ".outputs", "is missing", kExample);
    if (!outputs->IsMap() || outputs->members.empty())
      return Add(outputs->place, path + ".outputs", "must name at least one output", kExample);
    for (const auto& [key, files] : outputs->members) {
      const std::string where = path + ".outputs." + key.text;
      const auto level = ParseLevel(key.text);
      if (!level)
        Add(key.place, where, "is not a level", "Use highly_sensitive or moderately_sensitive");
      if (!files.IsMap() || files.members.empty()) {
        Add(files.place, where, "must name at least one output", "Write `name: path` below it");
        continue;
      }
      for (const auto& [name, pattern] : files.members)
        ReadOutput(where + "." + name.text, name.text, pattern,
                   level.value_or(Level::kHighlySensitive), action);
    }
  }

  void ReadOutput(const std::string& path, const std::string& name, const YamlNode& node,
                  Level level, ProjectAction& action) {
    const std::string pattern = Text(node, path);
    if (pattern.empty()) return;
    Add(node.place, path, OutputProblem(pattern));
    action.outputs.push_back({name, pattern, level, node.place});
  }

  void CheckUnique() {
    std::map<std::string, std::string> runs, outputs;
    for (const ProjectAction& action : project_.actions) {
      const std::string path = "actions." + action.name;
      auto [same, is_new] = runs.emplace(action.run, action.name);
      if (!is_new && !action.run.empty())
        Add(action.place, path + ".run", "is the same as that of " + same->second,
            "Two actions cannot do the same; remove one");
      for (const ProjectOutput& output : action.outputs) {
        auto [there, fresh] = outputs.emplace(output.pattern, action.name);
        if (!fresh)
          Add(output.place, path + ".outputs",
              "the output \"" + output.pattern + "\" is also one of " + there->second,
              "Give each output a path of its own");
      }
    }
  }

  void CheckNeeds() {
    const std::set<std::string> names = project_.Names();
    for (const ProjectAction& action : project_.actions)
      for (const std::string& need : action.needs)
        if (!names.contains(need))
          Add(need_places_[{action.name, need}], "actions." + action.name + ".needs",
              "there is no action \"" + need + "\"", "Correct the name, or add the action");
  }

  // Depth first; each cycle is reported once, from where the search enters it.
  void CheckCycles() {
    std::map<std::string, const ProjectAction*> by_name;
    for (const ProjectAction& action : project_.actions) by_name[action.name] = &action;
    std::map<std::string, int> state;  // 1: on the path, 2: done
    struct Step {
      const ProjectAction* action;
      size_t next = 0;
    };
    for (const ProjectAction& start : project_.actions) {
      if (state[start.name] != 0) continue;
      std::vector<Step> path = {{by_name[start.name]}};
      state[start.name] = 1;
      while (!path.empty()) {
        Step& top = path.back();
        if (top.next == top.action->needs.size()) {
          state[top.action->name] = 2;
          path.pop_back();
          continue;
        }
        const std::string& need = top.action->needs[top.next++];
        auto found = by_name.find(need);
        if (found == by_name.end() || state[need] == 2) continue;
        if (state[need] == 1) {
          std::string text;
          bool inside = false;
          for (const Step& step : path)
            if (inside = inside || step.action->name == need; inside)
              text += step.action->name + " needs ";
          Add(need_places_[{top.action->name, need}], "actions." + top.action->name + ".needs",
              "a circle: " + text + need, "Remove one of these needs");
          continue;
        }
        state[need] = 1;
        path.push_back({found->second});
      }
    }
  }

  const YamlNode& root_;
  ProjectFile& project_;
  std::vector<YamlProblem> problems_;
  std::map<std::pair<std::string, std::string>, TextPlace> need_places_;
};

// A name in DOT: names hold no quote or backslash, so quoting is enough.
std::string Quoted(const std::string& text) { return "\"" + text + "\""; }

}  // namespace

const ProjectAction* ProjectFile::Find(std::string_view name) const {
  for (const ProjectAction& action : actions)
    if (action.name == name) return &action;
  return nullptr;
}

std::set<std::string> ProjectFile::Names() const {
  std::set<std::string> names;
  for (const ProjectAction& action : actions) names.insert(action.name);
  return names;
}

std::vector<YamlProblem> ReadProject(std::string_view text, ProjectFile& project) {
  YamlNode root;
  auto problems = ReadYaml(text, kMaxBytes, root);
  // What is no more than a key twice does not hide the problems of the rest.
  if (!problems.empty() && !root.IsMap()) return problems;
  return Reader(root, project, std::move(problems)).Read();
}

std::string ToString(const YamlProblem& problem, const std::string& name) {
  return name + ":" + std::to_string(problem.place.line) + ":" +
         std::to_string(problem.place.column) + ": " +
         (problem.path.empty() ? "" : problem.path + ": ") + problem.what + ". " + problem.hint;
}

Result<ProjectFile> ParseProject(std::string_view text, const std::string& name) {
  ProjectFile project;
  const auto problems = ReadProject(text, project);
  if (problems.empty()) return project;
  std::string lines;
  for (const YamlProblem& problem : problems) {
    if (!lines.empty()) lines += '\n';
    lines += ToString(problem, name);
  }
  return BadInput("", lines);
}

Result<std::vector<const ProjectAction*>> SelectActions(const ProjectFile& project,
                                                        const std::vector<std::string>& names) {
  std::set<std::string> wanted;
  for (const std::string& name : names) {
    if (name == "run_all") {
      wanted.clear();
      break;
    }
    if (project.Find(name) == nullptr) {
      std::string known;
      for (const ProjectAction& action : project.actions)
        known += (known.empty() ? "" : ", ") + action.name;
      return BadInput("", "there is no action \"" + name + "\"", "The project has " + known);
    }
    wanted.insert(name);
  }
  if (wanted.empty()) wanted = project.Names();
  std::vector<const ProjectAction*> order;
  std::set<std::string> done;
  std::function<void(const ProjectAction&)> add = [&](const ProjectAction& action) {
    if (!done.insert(action.name).second) return;
    for (const std::string& need : action.needs) add(*project.Find(need));
    order.push_back(&action);
  };
  for (const ProjectAction& action : project.actions)
    if (wanted.contains(action.name)) add(action);
  return order;
}

std::string ProjectGraph(const ProjectFile& project) {
  std::string dot = "digraph project {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n";
  for (const ProjectAction& action : project.actions) {
    dot +=
        "  " + Quoted(action.name) + " [label=\"" + action.name + "\\n" + action.image + "\"];\n";
    for (const std::string& need : action.needs)
      dot += "  " + Quoted(need) + " -> " + Quoted(action.name) + ";\n";
  }
  return dot + "}\n";
}

}  // namespace carrel
