// carrel pipeline check, graph, run: a project.yaml on this host, for platform testers.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "base/subprocess.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "cli/pipeline_report.h"
#include "job/sandbox.h"
#include "pipeline/runner.h"
#include "policy/host_policy.h"
#include "policy/names.h"

namespace carrel {
namespace {

struct PipelineOptions {
  std::string directory, config, state, workspace, project, user, memory, cpus;
  std::string database = "default";
  std::vector<std::string> actions;
  uint32_t jobs = 0;
  bool force = false, json = false, svg = false, allow_uncommitted = false;
};

// A directory with a project.yaml, or the file itself. Threat: the study's file is a link to one
// that only root can read, and messages quote it; or a FIFO, which never ends.
Result<std::string> ReadProjectText(const std::string& path, std::string& name) {
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
  struct stat info {};
  name = path;
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) name += "/project.yaml";
  auto file = OpenPath(name, kFlags);
  if (!file && file.error().code == ENOENT)
    return BadInput(name, "there is no such file", "A study has a project.yaml at its top");
  if (!file && file.error().code != ELOOP) return BadInput(name, file.error().what);
  if (!file || ::fstat(file->get(), &info) != 0 || !S_ISREG(info.st_mode))
    return BadInput(name, "is a link or no regular file", "Put the file itself there");
  auto text = ReadFd(file->get(), 2u << 20);
  if (!text) return BadInput(name, text.error().what);
  return text;
}

// "1 action", "3 actions".
std::string Count(size_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

int Check(const PipelineOptions& options) {
  std::string name;
  auto text = ReadProjectText(options.directory, name);
  if (!text) return PrintError(text.error());
  ProjectFile project;
  const auto problems = ReadProject(*text, project);
  if (options.json) {
    OrderedJson list = OrderedJson::array();
    for (const YamlProblem& problem : problems)
      list.push_back({{"line", problem.place.line},
                      {"column", problem.place.column},
                      {"path", problem.path},
                      {"what", problem.what},
                      {"hint", problem.hint}});
    const OrderedJson out = {{"file", name}, {"good", problems.empty()}, {"problems", list}};
    printf("%s\n", out.dump(2, ' ', true, OrderedJson::error_handler_t::replace).c_str());
  } else {
    for (const YamlProblem& problem : problems) PrintError(BadInput("", ToString(problem, name)));
    if (problems.empty())
      printf("%s: good, %s\n", name.c_str(), Count(project.actions.size(), "action").c_str());
    else
      fprintf(stderr, "%s\n", Count(problems.size(), "problem").c_str());
  }
  return problems.empty() ? 0 : static_cast<int>(ErrorKind::kBadInput);
}

int Graph(const PipelineOptions& options) {
  std::string name;
  auto text = ReadProjectText(options.directory, name);
  if (!text) return PrintError(text.error());
  auto project = ParseProject(*text, name);
  if (!project) return PrintError(project.error());
  std::string graph = ProjectGraph(*project);
  if (options.svg) {
    auto svg = RunChecked({"dot", "-Tsvg"}, {.input = graph});
    if (!svg)
      return PrintError(Fault("dot", svg.error().what, "Install graphviz, or leave out --svg"));
    graph = std::move(*svg);
  }
  fputs(graph.c_str(), stdout);
  return 0;
}

// The options, the configuration and the policy, in that order, say for whom.
Result<void> ChooseWho(const PipelineOptions& options, PipelineRequest& request) {
  const PipelineConfig& defaults = request.host.pipeline;
  request.workspace = options.workspace.empty() ? defaults.workspace : options.workspace;
  if (request.workspace.empty()) {
    CARREL_ASSIGN(const Policy policy, LoadHostPolicy(request.host, NowNs()));
    request.workspace = std::filesystem::path(request.tree->directory).filename();
    if (!policy.workspace_projects.contains(request.workspace)) {
      std::string known;
      for (const auto& [workspace, project] : policy.workspace_projects)
        known += (known.empty() ? "" : ", ") + workspace;
      return BadInput("--workspace",
                      "which workspace? No project has \"" + request.workspace + "\"",
                      "Name one (" + known + "), or set pipeline.workspace in the configuration");
    }
  }
  if (!IsName(request.workspace)) return BadInput("--workspace", "is not a name");
  const char* caller = ::getenv("SUDO_USER");
  request.user = !options.user.empty()    ? options.user
                 : !defaults.user.empty() ? defaults.user
                 : caller != nullptr      ? caller
                                          : "root";
  request.project_id = options.project;
  request.database = options.database;
  return {};
}

Result<void> ChooseResources(const PipelineOptions& options, PipelineRequest& request) {
  const uint32_t processors = std::max(1u, std::thread::hardware_concurrency());
  request.jobs = options.jobs != 0                 ? options.jobs
                 : request.host.pipeline.jobs != 0 ? request.host.pipeline.jobs
                                                   : std::min(4u, processors);
  if (!options.memory.empty()) {
    const auto bytes = ParseByteSize(options.memory);
    if (!bytes || *bytes == 0) return BadInput("--memory", "must be a size, such as 2G");
    request.memory_bytes = *bytes;
  }
  if (!options.cpus.empty()) {
    const auto milli = ParseMilliCpus(options.cpus);
    if (!milli || *milli == 0) return BadInput("--cpus", "must be a number, such as 1.5");
    request.cpu_milli = *milli;
  }
  return {};
}

Result<int> RunAll(const PipelineOptions& options) {
  CARREL_TRY(RequireRoot());
  PipelineRequest request;
  request.config = options.config;
  request.state = options.state;
  CARREL_ASSIGN(request.host, LoadHostConfig(options.config, options.state));
  CARREL_ASSIGN(const WorkTree tree,
                OpenWorkTree({.directory = options.directory,
                              .state_dir = request.host.state,
                              .allowed_repositories = request.host.allowed_repositories,
                              .allow_uncommitted = options.allow_uncommitted}));
  request.tree = &tree;
  CARREL_ASSIGN(const ProjectFile project,
                ParseProject(tree.project, tree.directory + "/project.yaml"));
  request.project = &project;
  CARREL_TRY(ChooseWho(options, request));
  CARREL_TRY(ChooseResources(options, request));
  request.actions = options.actions;
  request.force = options.force;
  if (!tree.uncommitted.empty())
    fprintf(stderr, "%zu uncommitted files are in the snapshot %s\n", tree.uncommitted.size(),
            tree.commit.substr(0, 12).c_str());
  PipelineProgress progress(::isatty(STDERR_FILENO) != 0);
  request.progress = [&](const std::vector<ActionRun>& actions) { progress.Show(actions); };
  CARREL_ASSIGN(const PipelineResult result, RunPipeline(request));
  progress.Clear();
  if (options.json)
    printf("%s\n", PipelineJson(request, result)
                       .dump(2, ' ', true, OrderedJson::error_handler_t::replace)
                       .c_str());
  else
    PrintPipelineTable(request, result);
  return result.exit_status();
}

}  // namespace

int PipelineCommand(int argc, char** argv) {
  CLI::App app("A study's project.yaml, for platform testers.", "carrel pipeline");
  app.require_subcommand(1);
  PipelineOptions options;
  auto add = [&](const char* name, const char* summary) {
    CLI::App* verb = app.add_subcommand(name, summary);
    verb->add_option("directory", options.directory, "the study: a directory with project.yaml")
        ->required();
    return verb;
  };
  CLI::App* check = add("check", "check project.yaml: every problem, with line and column");
  check->add_flag("--json", options.json, "one JSON object");
  CLI::App* graph = add("graph", "draw the actions and their needs (DOT)");
  graph->add_flag("--svg", options.svg, "SVG instead: needs graphviz");
  CLI::App* run = add("run", "run the actions, each as the job agent would");
  run->add_option("actions", options.actions, "actions, with what they need (default: all)");
  AddHostOptions(*run, options.config, options.state);
  run->add_option("--workspace", options.workspace,
                  "default: pipeline.workspace of the configuration, or the directory's name");
  run->add_option("--project", options.project, "id or number; default: the workspace's");
  run->add_option("--user", options.user,
                  "default: pipeline.user of the configuration, who called sudo, or root");
  run->add_option("--database", options.database, "name of a configured database");
  run->add_option("--jobs", options.jobs, "actions side by side")->check(CLI::Range(1, 256));
  run->add_option("--memory", options.memory, "of each action, such as 2G (default: the policy's)");
  run->add_option("--cpus", options.cpus, "of each action (default: its share)");
  run->add_flag("--force", options.force, "also run what is up to date");
  run->add_flag("--allow-uncommitted", options.allow_uncommitted,
                "run uncommitted files too, from a snapshot that carrel keeps");
  run->add_flag("--json", options.json, "one JSON object instead of the table");
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  if (check->parsed()) return Check(options);
  if (graph->parsed()) return Graph(options);
  auto done = RunAll(options);
  return done ? *done : PrintError(done.error());
}

}  // namespace carrel
