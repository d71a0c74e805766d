// The job agent's verbs: one JSON object on stdout, whatever happens; the exit status says who has
// to act.
#include "agent/verbs.h"

#include <functional>

#include "cli/command.h"
#include "cli/host_options.h"

namespace carrel {
namespace {

struct VerbOptions {
  std::string job;  ///< a definition, or for verbs that need no more than that an id
  std::string config;
  std::string state;
  FinalizeOptions finalize;
};

int Print(const Result<VerbAnswer>& answer, const char* name) {
  const VerbAnswer said = answer ? *answer : AnswerOf(answer.error());
  printf("%s\n", said.ToJson().dump(2, ' ', true, OrderedJson::error_handler_t::replace).c_str());
  if (!answer) return PrintError(answer.error());
  if (!said.failed) return 0;
  Error error{*said.failed, said.results.value("error", ""), name, "", 0};
  return PrintError(error);
}

bool Parse(CLI::App& app, VerbOptions& options, int argc, char** argv, int* status) {
  app.add_option("job", options.job, "job definition (JSON file)")->required();
  AddHostOptions(app, options.config, options.state);
  return ParseOptions(app, argc, argv, status);
}

using Verb = std::function<Result<VerbAnswer>(const VerbJob&, const VerbOptions&)>;

int RunVerb(CLI::App& app, const char* name, int argc, char** argv, VerbOptions& options,
            const Verb& verb) {
  int status = 0;
  if (!Parse(app, options, argc, argv, &status)) return status;
  auto job = LoadVerbJob(options.config, options.state, options.job);
  if (!job) return Print(std::move(job).error(), name);
  return Print(verb(*job, options), name);
}

}  // namespace

int PrepareCommand(int argc, char** argv) {
  CLI::App app("Makes a job ready: image, code, inputs.", "carrel prepare");
  VerbOptions options;
  return RunVerb(app, "prepare", argc, argv, options,
                 [](const VerbJob& job, const VerbOptions&) { return PrepareVerb(job); });
}

int ExecuteCommand(int argc, char** argv) {
  CLI::App app("Starts a prepared job's action.", "carrel execute");
  VerbOptions options;
  return RunVerb(app, "execute", argc, argv, options,
                 [](const VerbJob& job, const VerbOptions&) { return ExecuteVerb(job); });
}

int StatusCommand(int argc, char** argv) {
  CLI::App app("Says the state of a job.", "carrel status");
  VerbOptions options;
  return RunVerb(app, "status", argc, argv, options, [](const VerbJob& job, const VerbOptions&) {
    return StatusVerb(job.host, job.job.id, job.job.task_id);
  });
}

int FinalizeCommand(int argc, char** argv) {
  CLI::App app("Collects a job's outputs by level and writes its records.", "carrel finalize");
  VerbOptions options;
  app.add_flag("--cancelled", options.finalize.cancelled, "no outputs, but log and metadata");
  app.add_option("--error", options.finalize.error,
                 "what went wrong outside of carrel: no outputs, but log and metadata");
  return RunVerb(app, "finalize", argc, argv, options,
                 [](const VerbJob& job, const VerbOptions& given) {
                   return FinalizeVerb(job, given.finalize);
                 });
}

int TerminateCommand(int argc, char** argv) {
  CLI::App app("Ends a job's action now.", "carrel terminate");
  VerbOptions options;
  return RunVerb(app, "terminate", argc, argv, options, [](const VerbJob& job, const VerbOptions&) {
    return TerminateVerb(job.host, job.job.id);
  });
}

int CleanupCommand(int argc, char** argv) {
  CLI::App app("Removes what is left of a job, but for its records.", "carrel cleanup");
  VerbOptions options;
  return RunVerb(app, "cleanup", argc, argv, options, [](const VerbJob& job, const VerbOptions&) {
    return CleanupVerb(job.host, job.job.id);
  });
}

}  // namespace carrel
