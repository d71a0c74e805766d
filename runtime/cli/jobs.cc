// What operators and the agent ask beside the verbs: list, logs, stats, kill, dbtask.
#include <signal.h>
#include <unistd.h>

#include "agent/inspect.h"
#include "agent/verbs.h"
#include "base/fs.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "job/database_task.h"

namespace carrel {
namespace {

int PrintAnswer(const Result<OrderedJson>& json) {
  if (!json) return PrintError(json.error());
  printf("%s\n", json->dump(2, ' ', true, OrderedJson::error_handler_t::replace).c_str());
  return 0;
}

// A job is named by its id, or by the file of its definition.
Result<std::string> IdOf(const std::string& name) {
  if (!name.ends_with(".json")) return name;
  CARREL_ASSIGN(const Json definition, ReadJsonFile(name, 4u << 20));
  CARREL_ASSIGN(const JobDefinition job, DecodeJobDefinition(definition));
  return job.id;
}

int Answer(const Result<VerbAnswer>& answer) {
  if (!answer) return PrintError(answer.error());
  return PrintAnswer(answer->ToJson());
}

}  // namespace

int ListCommand(int argc, char** argv) {
  CLI::App app("Lists the jobs that the agent has given and not cleaned up.", "carrel list");
  std::string config, state;
  AddHostOptions(app, config, state);
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  return host ? PrintAnswer(ListJobs(*host)) : status;
}

int StatsCommand(int argc, char** argv) {
  CLI::App app("Says what running actions use.", "carrel stats");
  std::string config, state;
  AddHostOptions(app, config, state);
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  return host ? PrintAnswer(JobStats(*host)) : status;
}

int LogsCommand(int argc, char** argv) {
  CLI::App app("Prints the log of a job's action.", "carrel logs");
  std::string config, state;
  LogOptions log;
  std::string job;
  AddHostOptions(app, config, state);
  app.add_option("job", job, "id of the job, or its definition (a file X.json)")->required();
  app.add_flag("--follow,-f", log.follow, "go on until the action has ended");
  app.add_option("--tail", log.tail, "only the last N lines")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  if (!host) return status;
  ::signal(SIGPIPE, SIG_DFL);
  auto id = IdOf(job);
  if (!id) return PrintError(id.error());
  auto read = ReadJobLog(*host, *id, log,
                         [](std::string_view text) { return WriteAll(STDOUT_FILENO, text); });
  return read ? 0 : PrintError(read.error());
}

int KillCommand(int argc, char** argv) {
  CLI::App app("Kills a job's action. To cancel a job, terminate it.", "carrel kill");
  std::string config, state;
  std::string job;
  AddHostOptions(app, config, state);
  app.add_option("job", job, "id of the job, or its definition (a file X.json)")->required();
  int status = 0;
  const auto host = ParseHostOptions(app, argc, argv, config, state, &status);
  if (!host) return status;
  auto id = IdOf(job);
  if (!id) return PrintError(id.error());
  const auto answer = KillVerb(*host, *id);
  // Who mistypes an id must not believe that the job has ended.
  if (answer && answer->state == JobState::kUnknown)
    return PrintError(BadInput(*id, "the agent has no such job; nothing was killed",
                               "`carrel list` shows its jobs. Those of `carrel run` and `pipeline` "
                               "end with their process"));
  return Answer(answer);
}

int DbtaskCommand(int argc, char** argv) {
  CLI::App app("Runs a short database command and prints its restricted output.", "carrel dbtask");
  RunJobOptions options;
  app.add_option("job", options.definition, "job definition (JSON file)")->required();
  AddHostOptions(app, options.config, options.state);
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;
  auto outcome = RunDatabaseTask(options);
  if (!outcome) {
    (void)PrintAnswer(AnswerOf(outcome.error()).ToJson());
    return PrintError(outcome.error());
  }
  (void)PrintAnswer(outcome->result);
  return outcome->succeeded ? 0 : 1;
}

}  // namespace carrel
