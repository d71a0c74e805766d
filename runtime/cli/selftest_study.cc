// expected.json of the test studies, read strictly.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/selftest.h"
#include "policy/names.h"

namespace carrel {
namespace {

const std::set<std::string>& ActionKeys() {
  static const std::set<std::string> kKeys = {
      "state",    "message",      "exit_code", "oom_killed", "timed_out",        "outputs",
      "withheld", "output_count", "level4",    "lacks",      "no_files",         "rows",
      "log",      "log_once",     "log_lacks", "database",   "type_one_opt_outs"};
  return kKeys;
}

Result<TestRun> ReadRun(const Json& value, const std::string& where) {
  JsonObject in(value, where);
  TestRun run;
  run.name = in.RequiredString("name");
  run.project = in.RequiredString("project");
  if (run.project != "internal" && run.project != "listed" && run.project != "unlisted")
    in.Problem("project", "must be internal, listed or unlisted");
  run.memory = in.String("memory").value_or("");
  run.cancel = in.String("cancel").value_or("");
  run.exit_status = static_cast<int>(in.RequiredInt("exit_status", 0, 255));
  if (const Json* limits = in.Any("limits")) run.limits = *limits;
  const Json* actions = in.Any("actions");
  if (actions == nullptr || !actions->is_object()) {
    in.Problem("actions", "is required");
  } else {
    for (const auto& [name, expected] : actions->items()) {
      if (!expected.is_object()) in.Problem("actions", name + " must be an object");
      for (const auto& [key, member] : expected.items())
        if (!ActionKeys().contains(key)) in.Problem("actions", name + ": no check is named " + key);
      run.actions[name] = expected;
    }
  }
  CARREL_TRY(in.Finish());
  return run;
}

Result<TestStudy> ReadStudy(const std::string& directory, const std::string& name) {
  TestStudy study;
  study.name = name;
  study.directory = directory + "/" + name;
  CARREL_ASSIGN(const Json document, ReadJsonFile(study.directory + "/expected.json"));
  JsonObject in(document, name + "/expected.json#");
  study.description = in.RequiredString("description");
  const auto images = in.Strings("images").value_or(std::vector<std::string>());
  study.images = {images.begin(), images.end()};
  study.database = in.RequiredBool("database");
  const auto kinds = in.Strings("database_kinds").value_or(std::vector<std::string>());
  study.database_kinds = {kinds.begin(), kinds.end()};
  study.truth = in.String("truth").value_or("");
  const Json* runs = in.Any("runs");
  if (runs == nullptr || !runs->is_array()) {
    in.Problem("runs", "is required");
  } else {
    for (size_t i = 0; i < runs->size(); ++i) {
      auto run = ReadRun((*runs)[i], in.PointerTo("runs") + "/" + std::to_string(i));
      if (run)
        study.runs.push_back(std::move(*run));
      else
        in.Merge(run.error());
    }
  }
  CARREL_TRY(in.Finish());
  return study;
}

// The study that makes the database, the one that counts in it, then the others by name.
int Rank(const TestStudy& study) {
  if (!study.truth.empty()) return 1;
  return study.name == "database" ? 0 : 2;
}

}  // namespace

Result<std::vector<TestStudy>> ReadStudies(const std::string& directory) {
  auto opened = OpenPath(directory, O_RDONLY | O_DIRECTORY);
  if (!opened)
    return BadInput(directory, "the test studies are not there",
                    "`cmake --install` puts them in share/carrel/studies; or name them: --studies");
  CARREL_ASSIGN(const auto names, ListDir(opened->get()));
  std::vector<TestStudy> studies;
  for (const std::string& name : names) {
    if (!IsName(name) || !OpenBeneath(opened->get(), name + "/expected.json", O_PATH)) continue;
    CARREL_ASSIGN(TestStudy study, ReadStudy(directory, name));
    studies.push_back(std::move(study));
  }
  std::stable_sort(studies.begin(), studies.end(),
                   [](const TestStudy& a, const TestStudy& b) { return Rank(a) < Rank(b); });
  if (studies.empty()) return BadInput(directory, "there is no study with an expected.json");
  return studies;
}

}  // namespace carrel
