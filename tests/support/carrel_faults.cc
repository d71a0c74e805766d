// The agent's verbs with fault points: carrel_faults VERB JOB.json --config FILE [--cancelled].
#include <cstdio>
#include <cstring>

#include "agent/verbs.h"
#include "base/log.h"

namespace carrel {
namespace {

Result<VerbAnswer> Call(const std::string& verb, const VerbJob& job, bool cancelled) {
  if (verb == "prepare") return PrepareVerb(job);
  if (verb == "execute") return ExecuteVerb(job);
  if (verb == "status") return StatusVerb(job.host, job.job.id);
  if (verb == "finalize") return FinalizeVerb(job, {.cancelled = cancelled, .error = ""});
  if (verb == "terminate") return TerminateVerb(job.host, job.job.id);
  if (verb == "cleanup") return CleanupVerb(job.host, job.job.id);
  return BadInput("verb", "there is no verb " + verb);
}

int Main(int argc, char** argv) {
  if (argc < 5) return 2;
  InitLog(false);
  auto job = LoadVerbJob(argv[4], "", argv[2]);
  Result<VerbAnswer> answer =
      job ? Call(argv[1], *job, argc > 5 && strcmp(argv[5], "--cancelled") == 0)
          : Result<VerbAnswer>(job.error());
  const VerbAnswer said = answer ? *answer : AnswerOf(answer.error());
  printf("%s\n", said.ToJson().dump().c_str());
  if (!answer) fprintf(stderr, "%s\n", answer.error().ToString().c_str());
  return said.failed ? static_cast<int>(*said.failed) : 0;
}

}  // namespace
}  // namespace carrel

int main(int argc, char** argv) { return carrel::Main(argc, argv); }
