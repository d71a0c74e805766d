// carrel run: a job in the foreground. One JSON result on stdout, progress on stderr.
#include <unistd.h>

#include "base/journal.h"
#include "cli/command.h"
#include "cli/host_options.h"
#include "job/job_runner.h"
#include "job/utf8.h"

namespace carrel {
namespace {

// One line that is rewritten on a terminal; plain lines, one a step, elsewhere.
class Progress {
 public:
  void Show(int step, const std::string& what) {
    if (::isatty(STDERR_FILENO) != 0) {
      fprintf(stderr, "\r\x1b[K[%d/12] %.70s", step, what.c_str());
      shown_ = true;
    } else if (step != last_) {
      fprintf(stderr, "[%d/12] %s\n", step, what.c_str());
    }
    last_ = step;
  }
  void Clear() const {
    if (shown_) fprintf(stderr, "\r\x1b[K");
  }

 private:
  int last_ = 0;
  bool shown_ = false;
};

// ASCII whatever names the job met: no byte that a terminal could take for a command, and what is
// not UTF-8 does not stop the answer.
void PrintResult(const OrderedJson& result) {
  printf("%s\n", result.dump(2, ' ', true, OrderedJson::error_handler_t::replace).c_str());
}

// One line for a person: how it ended, and what stayed at level 3. The status message has no name
// of an output in it; those are in the result, and in the files that it names.
void PrintOutcome(const JobOutcome& outcome) {
  if (!outcome.succeeded)
    fprintf(stderr, "carrel run: the job did not succeed: %s\n", outcome.status.c_str());
  if (outcome.withheld > 0)
    fprintf(stderr,
            "carrel run: %zu output(s) withheld from level 4: a .txt file there in the place of "
            "each says why\n",
            outcome.withheld);
}

// What the journal's entries of this process are about; read leniently, for the job itself is
// decoded strictly.
void NameJobToJournal(const std::string& definition) {
  if (!StderrIsJournal()) return;
  auto job = ReadJsonFile(definition, 4u << 20);
  if (!job || !job->is_object()) return;
  JournalFields fields;
  for (auto [field, member] : {std::pair{"CARREL_JOB", "id"},
                               {"CARREL_WORKSPACE", "workspace"},
                               {"CARREL_ACTION", "action"}})
    if (auto found = job->find(member); found != job->end() && found->is_string())
      fields.emplace_back(field, MakeVisible(found->get<std::string>()));
  SetJournalContext(std::move(fields));
}

}  // namespace

int RunCommand(int argc, char** argv) {
  CLI::App app("Runs a job from its definition to its results.", "carrel run");
  RunJobOptions options;
  app.add_option("job", options.definition, "job definition (JSON file)")->required();
  AddHostOptions(app, options.config, options.state);
  app.add_flag("--dry-run", options.dry_run, "print decision and plan; touch nothing");
  int status = 0;
  if (!ParseOptions(app, argc, argv, &status)) return status;

  NameJobToJournal(options.definition);
  Progress progress;
  if (!options.dry_run)
    options.progress = [&](int step, const std::string& what) { progress.Show(step, what); };
  auto outcome = RunJob(options);
  progress.Clear();
  if (!outcome) {
    const Error& error = outcome.error();
    const OrderedJson result = {{"state", error.kind == ErrorKind::kRefused ? "refused" : "error"},
                                {"error", error.ToString()}};
    PrintResult(result);
    return PrintError(error);
  }
  PrintResult(outcome->result);
  PrintOutcome(*outcome);
  (void)SendToJournal(6, outcome->succeeded ? "the job succeeded" : "the job failed",
                      {{"CARREL_STATE", "finalized"}});
  return outcome->succeeded ? 0 : 1;
}

}  // namespace carrel
